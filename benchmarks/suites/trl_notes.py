"""What a configuration of TRL's GRPO says that has no counterpart in a suite, or another one: a line each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ppo_vs_grpo.benchmarks.suites.trl_config import LAUNCHER, OLDER, PARTS, QUIET, TrlConfig, TrlFile
from ppo_vs_grpo.tasks.errors import BRIEF

Note = tuple[str, str]
"""A field, or the setting of a suite, and what is different about it."""

FIELDS = {
    "trust_remote_code": "TRL runs code that a model brings; here only models that transformers knows are loaded",
    "router_aux_loss_coef": "TRL adds a loss that balances experts; there is none here",
    "cast_lm_head_to_fp32": "TRL computes the output embedding in float32; here in the type of the passes",
    "load_in_8bit": "TRL freezes weights of 8 bits; here they are loaded in the type of the passes",
    "load_in_4bit": "TRL freezes weights of 4 bits; here they are loaded in the type of the passes",
    "model_init_kwargs": "TRL's script replaces it; here it is left out",
    "test_split_size": "TRL holds a random share of the rows out; here the prompts' hashes say which",
    "shuffle_dataset": "TRL keeps the dataset's order; here the seed orders the prompts",
    "multi_objective_aggregation": "TRL normalises each reward in its group, then adds; here the sum is normalised",
    "repetition_penalty": "TRL's sampler makes tokens that were there less likely; here it does not",
    "generation_kwargs": "further settings of TRL's sampler; here it has temperature, top_p, top_k and min_p",
    "use_vllm": "TRL samples with vLLM, and weighs or drops completions whose likelihood is another there "
    "(vllm_importance_sampling_*); here the policy's own network samples",
    "vllm_structured_outputs_regex": "TRL's sampler keeps to a pattern; here it does not",
    "max_tool_calling_iterations": "bounds the turns of an agent; a completion is one turn here",
    "optim_args": "the optimizer has no such options here",
    "weight_decay": "TRL shrinks weights at each step; there is no decay here",
    "adam_beta1": "0.9 here",
    "adam_beta2": "0.999 here",
    "adam_epsilon": "1e-8 here",
    "neftune_noise_alpha": "TRL adds noise to embeddings; there is none here",
    "fp16": "TRL computes in float16, which has no counterpart; here in the `dtype` below",
    "seed": "a suite has several seeds, and they are its own",
    "sync_ref_model": "TRL moves the reference towards the policy; here it is the start model throughout",
    "mask_truncated_completions": "TRL leaves completions that were cut out of the loss; here they count",
    "top_entropy_quantile": "TRL learns from the tokens of highest entropy only; here from all",
    "entropy_coef": "TRL adds an entropy bonus to the loss; there is none here",
    "use_adaptive_entropy": "TRL steers the weight of an entropy bonus; there is none here",
    "off_policy_mask_threshold": "TRL drops bad completions that the policy has left behind; here the clip alone acts",
    "deepspeed": "TRL spreads a run over devices with it; a run has one device here",
    "fsdp": "TRL spreads a run over devices with it; a run has one device here",
    "parallelism_config": "TRL spreads a run over devices with it; a run has one device here",
}
"""Fields without counterpart: told where the value is not TRL's default, which asks for nothing."""

ADAPTERS = {
    "lora_target_parameters": "adapters stand beside every linear layer here, and beside nothing else",
    "lora_modules_to_save": "adapters alone are trained here",
    "use_rslora": "TRL scales adapters by alpha / sqrt(rank); here by alpha / rank",
    "use_dora": "TRL learns magnitudes beside adapters; here adapters alone",
}
"""The same for fields that TRL reads with `use_peft` only."""

OTHER_LOSSES = {
    "cispo": "TRL bounds the weight of each token's gradient; here tokens beyond the clip have none",
    "sapo": "TRL fades the gradient out smoothly; here it ends at the clip",
    "luspo": "TRL multiplies a completion's loss by its length; here each completion weighs the same",
    "vespo": "TRL weighs gradients smoothly by the whole completion's ratio; here each token's ratio is clipped",
}
"""Losses without counterpart, and the arm's instead."""


def notes_on(file: TrlFile, train: dict[str, Any], algorithm: str) -> list[str]:
    """The lines, in the order in which a reader asks: task, budget, optimizer, sampler, loss, then the rest.

    `train` are the suite's shared settings and `algorithm` the imported arm's.
    """
    config = file.config
    noted = [
        *_on_the_task(config),
        *_on_the_budget(file, train),
        *_on_the_optimizer(config, train),
        *_on_adapters(config),
        *_on_the_sampler(config),
        *_on_the_loss(config, train, algorithm),
        *((key, text) for key, text in FIELDS.items() if _is_set(config, key)),
        *_on_older_names(file),
    ]
    lines = [_line(file, key, text) for key, text in noted]
    spoken_for = {part for key, _ in noted for part in PARTS.get(key, ())}
    without_effect = [key for key in config.model_fields_set if key.startswith("lora_") and not config.use_peft]
    quiet = [key for key in file.others if key in (*QUIET, *LAUNCHER, *_parts()) and key not in spoken_for]
    if quiet or without_effect:
        lines.append(f"no number here depends on: {', '.join(sorted([*quiet, *without_effect]))}")
    return lines


def _parts() -> list[str]:
    return [part for parts in PARTS.values() for part in parts]


def _is_set(config: TrlConfig, key: str) -> bool:
    return bool(getattr(config, key) != TrlConfig.model_fields[key].get_default(call_default_factory=True))


def _line(file: TrlFile, key: str, text: str) -> str:
    """The note with the field's value, and those of the fields that it speaks for."""
    value = file.others.get(key, getattr(file.config, key, None))
    parts = "".join(f", {part} {_short(file.others[part])}" for part in PARTS.get(key, ()) if part in file.others)
    shown = f" {_short(value)}" if key in {*TrlConfig.model_fields, *file.others} else ""
    return f"{key}{shown}{parts}: {text}"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= BRIEF else f"{text[: BRIEF - 3]}..."


def _on_the_task(config: TrlConfig) -> Iterator[Note]:
    yield (
        "prompts",
        (
            "TRL renders conversations by the chat template and leaves plain prompts alone; here both are rendered, "
            "unless train.chat is off"
        ),
    )
    yield "pass rate", "TRL has none; here a completion passes with a summed reward of 1 (options pass_at, pass_by)"
    if not config.datasets and config.dataset_train_split != "train":
        yield "dataset_train_split", "the split train is trained on here; a file in `source` may hold another one"
    if len(config.datasets) > 1:
        yield "mixture", f"TRL mixes {len(config.datasets)} datasets; here the first is the source"
    for key in ("data_dir", "data_files", "split", "columns", "fraction"):
        value = (config.datasets or [{}])[0].get(key)
        if (
            value is not None
            and not (key == "data_files" and isinstance(value, str))
            and (key, value) != ("split", "train")
        ):
            yield f"datasets.{key}", f"{_short(value)} has no counterpart"


def _on_the_budget(file: TrlFile, train: dict[str, Any]) -> Iterator[Note]:
    config, group = file.config, file.config.num_generations
    if "num_processes" not in file.others:
        yield "processes", "the file names no number; with N of them an update of TRL has N times as many completions"
    if config.max_steps <= 0:
        yield (
            "num_train_epochs",
            (
                f"TRL's budget is rows of the dataset * {group} * {config.num_train_epochs:g} completions; set "
                f"train.completions to it, which is {train['completions']} until then"
            ),
        )
    elif config.max_steps % (train["mini_batches"] * train["epochs"]):
        yield "max_steps", "TRL stops inside the last update, which is made whole here"
    if file.steps_per_generation < config.gradient_accumulation_steps:
        yield (
            "gradient_accumulation_steps",
            "TRL takes several generations of one policy a step; they are one update here",
        )


def _on_the_optimizer(config: TrlConfig, train: dict[str, Any]) -> Iterator[Note]:
    if config.lr_scheduler_type not in ("constant", "constant_with_warmup"):
        yield "lr_scheduler_type", "here the learning rate stays constant after the warm-up"
    if config.optim not in ("adamw_torch", "adamw_torch_fused"):
        yield "optim", "AdamW here"
    if config.dtype != "float32" and not (config.use_peft and train["dtype"] == config.dtype):
        yield "dtype", f"TRL trains weights of this type; here trained weights are float32, and passes {train['dtype']}"
    yield "critic", "no field of TRL's says how it learns; its learning rate is ten times the policy's"


def _on_adapters(config: TrlConfig) -> Iterator[Note]:
    if not config.use_peft:
        return
    if config.lora_alpha != 2 * config.lora_r:
        yield "lora_alpha", f"2 x lora_r = {2 * config.lora_r} here"
    if config.lora_dropout:
        yield "lora_dropout", "there is none here"
    if config.lora_target_modules != ["all-linear"]:
        yield "lora_target_modules", "adapters stand beside every linear layer here"
    yield from ((key, text) for key, text in ADAPTERS.items() if _is_set(config, key))


def _on_the_sampler(config: TrlConfig) -> Iterator[Note]:
    if config.max_completion_length is None:
        yield "max_completion_length", "TRL leaves it to the model's settings; here the task's limit holds"
    for key, off in {"top_p": 1.0, "top_k": 0, "min_p": 0.0}.items():
        if (getattr(config, key) or 0.0) != off:
            yield (
                key,
                "TRL learns as if the policy had sampled; here importance_correction weighs tokens by policy / sampler",
            )


def _on_the_loss(config: TrlConfig, train: dict[str, Any], algorithm: str) -> Iterator[Note]:
    loss, parts = config.loss_type, config.gradient_accumulation_steps
    by_completion = config.importance_sampling_level == "sequence"
    if loss in OTHER_LOSSES:
        yield "loss_type", OTHER_LOSSES[loss]
    if loss in ("dapo", "bnpo", "dr_grpo") and by_completion:
        yield "loss_type", "TRL weighs a completion of one ratio by its length; here each completion weighs the same"
    if loss == "luspo" and not by_completion:
        yield "importance_sampling_level", "the ratio is the whole completion's here"
    if algorithm == "dapo" and loss == "dapo" and train["mini_batches"] > 1:
        yield (
            "loss_type",
            "TRL divides by the tokens of an update's mini-batches on average; here by a mini-batch's own",
        )
    if algorithm == "dapo" and loss == "bnpo" and parts > 1:
        yield (
            "loss_type",
            f"TRL averages over the tokens of each of {parts} parts, then over parts; here over all tokens",
        )
    wanted = {"grpo": config.scale, "dr-grpo": "none"}.get(algorithm, "group")
    if config.scale != wanted:
        what = (
            "does not divide a centred reward" if wanted == "none" else "divides a centred reward by its group's spread"
        )
        yield "scale_rewards", f"the arm {algorithm} {what}"
    if config.beta and config.use_bias_correction_kl and algorithm != "grpo":
        yield "use_bias_correction_kl", f"TRL multiplies the penalty by the ratio; the arm {algorithm} does not"
    if config.delta is not None and config.delta <= 1:
        yield "delta", "at 1 or below it has no counterpart, and is left out"


def _on_older_names(file: TrlFile) -> Iterator[Note]:
    for old, new in OLDER.items():
        if old in file.others:
            yield old, f"read as {new}, which is its name in TRL 1.12"
    if "max_prompt_length" in file.others:
        yield "max_prompt_length", "TRL cut longer prompts until it dropped this field; no prompt is cut here"
