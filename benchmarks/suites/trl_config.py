"""A configuration of TRL's GRPO: its fields with TRL's own defaults. TRL itself is not loaded.

`trl grpo --config FILE` fills four dataclasses from FILE: GRPOScriptArguments, GRPOConfig, ModelConfig and
DatasetMixtureConfig (TRL 1.12). Keys that none of them has go to `accelerate launch`.
"""

from __future__ import annotations

import difflib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator

from ppo_vs_grpo.algorithms.shared.config import Frozen
from ppo_vs_grpo.benchmarks.suites.load import read_document
from ppo_vs_grpo.benchmarks.suites.mistakes import explain
from ppo_vs_grpo.tasks.errors import UserError

Schedule = Literal[
    "linear",
    "cosine",
    "cosine_with_restarts",
    "polynomial",
    "constant",
    "constant_with_warmup",
    "inverse_sqrt",
    "reduce_lr_on_plateau",
    "cosine_with_min_lr",
    "cosine_warmup_with_min_lr",
    "warmup_stable_decay",
    "greedy",
]
Loss = Literal["grpo", "bnpo", "dapo", "dr_grpo", "cispo", "sapo", "luspo", "vespo"]


class TrlConfig(Frozen):
    """The fields that decide what is learned, with TRL's defaults; those of QUIET are left out.

    A field that may be None is unset there.
    """

    # the model
    model_name_or_path: str | None = None
    model_revision: str = "main"
    dtype: Literal["auto", "bfloat16", "float16", "float32"] | None = "float32"
    model_init_kwargs: dict[str, Any] | str | None = None
    trust_remote_code: bool = False
    router_aux_loss_coef: float = 0.001
    cast_lm_head_to_fp32: bool = False
    load_in_8bit: bool = False
    load_in_4bit: bool = False
    use_peft: bool = False
    lora_r: int = Field(16, ge=1)
    lora_alpha: int = 32
    lora_dropout: float = 0.05
    lora_target_modules: list[str] | None = None
    lora_target_parameters: list[str] | None = None
    lora_modules_to_save: list[str] | None = None
    use_rslora: bool = False
    use_dora: bool = False
    # the data and the rewards
    dataset_name: str | None = None
    dataset_config: str | None = None
    dataset_train_split: str = "train"
    dataset_test_split: str = "test"
    datasets: list[dict[str, Any]] = Field(default_factory=list)
    test_split_size: float | None = None
    shuffle_dataset: bool | None = True
    chat_template_kwargs: dict[str, Any] | None = None
    reward_funcs: list[str] | None = None
    reward_model_name_or_path: str | None = None
    reward_weights: list[float] | None = None
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"] = "sum_then_normalize"
    # sampling
    num_generations: int = Field(8, ge=2)
    max_completion_length: int | None = Field(512, ge=1)
    generation_batch_size: int | None = Field(None, ge=1)
    steps_per_generation: int | None = Field(None, ge=1)
    temperature: float = Field(1.0, gt=0)
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float | None = Field(None, ge=0, lt=1)
    repetition_penalty: float = 1.0
    generation_kwargs: dict[str, Any] | str | None = None
    use_vllm: bool = False
    vllm_structured_outputs_regex: str | None = None
    max_tool_calling_iterations: int | None = None
    # the budget and the optimizer
    per_device_train_batch_size: int = Field(8, ge=1)
    gradient_accumulation_steps: int = Field(1, ge=1)
    num_train_epochs: float = Field(3.0, gt=0)
    max_steps: int = -1
    num_iterations: int = Field(1, ge=1)
    learning_rate: float = Field(1e-6, gt=0)
    lr_scheduler_type: Schedule = "linear"
    warmup_steps: float = Field(0, ge=0)
    max_grad_norm: float = Field(1.0, ge=0)
    optim: str = "adamw_torch_fused"
    optim_args: str | None = None
    weight_decay: float = 0.0
    adam_beta1: float = 0.9
    adam_beta2: float = 0.999
    adam_epsilon: float = 1e-8
    neftune_noise_alpha: float | None = None
    bf16: bool | None = None
    fp16: bool = False
    activation_checkpointing: bool | None = None
    gradient_checkpointing: bool = True
    seed: int = 42
    # the loss
    loss_type: Loss = "dapo"
    scale_rewards: bool | Literal["group", "batch", "none"] = "group"
    importance_sampling_level: Literal["token", "sequence"] = "token"
    epsilon: float = Field(0.2, gt=0, lt=1)
    epsilon_high: float | None = Field(None, gt=0)
    delta: float | None = Field(None, gt=0)
    beta: float = Field(0.0, ge=0)
    use_bias_correction_kl: bool = True
    sync_ref_model: bool = False
    mask_truncated_completions: bool = False
    top_entropy_quantile: float = 1.0
    entropy_coef: float = 0.0
    use_adaptive_entropy: bool = False
    off_policy_mask_threshold: float | None = None
    # several devices
    deepspeed: dict[str, Any] | str | None = None
    fsdp: str | None = None
    parallelism_config: dict[str, Any] | None = None

    @field_validator("chat_template_kwargs", mode="before")
    @classmethod
    def _json_is_a_mapping(cls, given: Any) -> Any:
        try:
            return json.loads(given) if isinstance(given, str) else given
        except json.JSONDecodeError as error:
            raise ValueError(f"should be a mapping, or JSON of one ({error})") from None

    @property
    def scale(self) -> str:
        """What divides a centred reward; TRL's true and false are group and none."""
        words = {True: "group", False: "none"}
        return words[self.scale_rewards] if isinstance(self.scale_rewards, bool) else self.scale_rewards

    @property
    def checkpoints(self) -> bool:
        """Whether layers are computed again in the backward pass: the newer name wins where both are given."""
        new = self.activation_checkpointing
        return self.gradient_checkpointing if new is None else new

    @property
    def computes_in_bfloat16(self) -> bool:
        """Whether passes are in bfloat16: `bf16` is true unless `fp16` is; a bfloat16 model computes in it anyway."""
        mixed = not self.fp16 if self.bf16 is None else self.bf16
        return mixed or self.dtype == "bfloat16"


PARTS = {
    "use_vllm": (
        *("vllm_mode", "vllm_model_impl", "vllm_enable_sleep_mode", "vllm_server_base_url", "vllm_server_host"),
        *("vllm_server_port", "vllm_server_timeout", "vllm_group_port", "vllm_gpu_memory_utilization"),
        *("vllm_max_model_length", "vllm_tensor_parallel_size", "vllm_importance_sampling_correction"),
        *("vllm_importance_sampling_mode", "vllm_importance_sampling_clip_max", "vllm_importance_sampling_clip_min"),
        "vllm_importance_sampling_cap",
    ),
    "loss_type": (
        *("sapo_temperature_neg", "sapo_temperature_pos"),
        *("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg"),
    ),
    "use_adaptive_entropy": ("entropy_coef_min", "entropy_coef_max", "entropy_coef_delta", "entropy_target"),
    "sync_ref_model": ("ref_model_mixup_alpha", "ref_model_sync_steps"),
    "load_in_4bit": ("bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage"),
    "lr_scheduler_type": ("lr_scheduler_kwargs",),
    "fsdp": ("fsdp_config",),
}
"""Fields that matter only through another one, whose note speaks for them."""

QUIET = (
    *("output_dir", "logging_strategy", "logging_steps", "logging_first_step", "log_on_each_node"),
    *(
        "logging_nan_inf_filter",
        "include_num_input_tokens_seen",
        "log_level",
        "log_level_replica",
        "disable_tqdm",
        "report_to",
        "run_name",
    ),
    *("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "log_completions"),
    *("log_multimodal", "num_completions_to_print", "log_unique_prompts", "log_completions_hub_repo"),
    *("eval_strategy", "eval_steps", "eval_delay", "per_device_eval_batch_size", "prediction_loss_only"),
    *("eval_on_start", "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps"),
    *("include_for_metrics", "batch_eval_metrics", "num_generations_eval", "bf16_full_eval", "fp16_full_eval"),
    *("save_only_model", "save_strategy", "save_steps", "save_on_each_node", "save_total_limit"),
    *("enable_jit_checkpoint", "push_to_hub", "hub_token", "hub_private_repo", "hub_model_id", "hub_strategy"),
    *("hub_always_push", "hub_revision", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *("ignore_data_skip", "restore_callback_states_from_checkpoint", "resume_from_checkpoint", "do_train", "do_eval"),
    *("do_predict", "debug", "skip_memory_metrics", "full_determinism", "use_cpu", "tf32", "torch_compile"),
    *("torch_compile_backend", "torch_compile_mode", "use_liger_kernel", "liger_kernel_config", "use_cache"),
    *("torch_empty_cache_steps", "auto_find_batch_size", "activation_checkpointing_kwargs"),
    *("gradient_checkpointing_kwargs", "attn_implementation", "cache_implementation"),
    *("use_transformers_continuous_batching", "transformers_continuous_batching_config", "use_transformers_paged"),
    *("pad_to_multiple_of", "ds3_gather_for_generation", "accelerator_config", "dataloader_drop_last"),
    *("dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor"),
    *("dataloader_multiprocessing_context", "dataloader_in_order", "remove_unused_columns", "label_names"),
    *("label_smoothing_factor", "average_tokens_across_devices", "train_sampling_strategy", "length_column_name"),
    *("optim_target_modules", "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers"),
    *("ddp_static_graph", "ddp_backend", "ddp_timeout", "local_rank", "data_seed", "disable_dropout"),
    *("dataset_streaming", "streaming", "ignore_bias_buffers", "lora_task_type"),
)
"""TRL's fields that change no number here: logging, saving, the hub, evaluation, speed, devices, what is not read."""

LAUNCHER = (
    *("env", "accelerate_config", "config_file", "num_machines", "machine_rank", "main_process_ip"),
    *("main_process_port", "gpu_ids", "mixed_precision"),
)
"""Keys of the file that start processes; `num_processes`, which multiplies the batch, is read."""

OLDER = {"warmup_ratio": "warmup_steps", "torch_dtype": "dtype"}
"""Keys of earlier versions, and their names in TRL 1.12. `max_prompt_length` has none any more."""


@dataclass(frozen=True, slots=True)
class TrlFile:
    """A file of TRL's: what it configures, on how many processes, and the keys that it has besides."""

    config: TrlConfig
    processes: int
    others: dict[str, Any]

    @property
    def step_completions(self) -> int:
        """The completions of one forward and backward pass on all processes."""
        return self.config.per_device_train_batch_size * self.processes

    @property
    def steps_per_generation(self) -> int:
        """Such passes over what is generated at once, by any of the three fields that may say so."""
        c = self.config
        generated = (c.generation_batch_size or 0) // self.step_completions
        return c.steps_per_generation or generated or c.gradient_accumulation_steps


def read_trl(path: Path) -> TrlFile:
    """Read a YAML file for `trl grpo --config`. Raises UserError for what TRL's GRPO would not take."""
    given = read_document(path)
    if not isinstance(given, dict):
        raise UserError(f"{path}: holds a {type(given).__name__}; a TRL configuration is a mapping of its fields")
    own = [*TrlConfig.model_fields]
    parts = [key for part in PARTS.values() for key in part]
    others = [*QUIET, *parts, *LAUNCHER, *OLDER, "num_processes", "max_prompt_length"]
    for key in given:
        if key not in own and key not in others:
            near = difflib.get_close_matches(str(key), own + others, n=1, cutoff=0.4)
            advice = f"; did you mean {near[0]!r}?" if near else ""
            raise UserError(f"{path}: {key}: TRL's GRPO knows no such key{advice}")
    for old, new in OLDER.items():
        if old in given and new in given:
            raise UserError(f"{path}: {old}: is {new} by its older name, which is there too; leave one of them out")
    fields = {OLDER.get(key, key): value for key, value in given.items() if OLDER.get(key, key) in own}
    processes = given.get("num_processes", 1)
    if isinstance(processes, bool) or not isinstance(processes, int) or processes < 1:
        raise UserError(f"{path}: num_processes: {processes!r}: should be a whole number, 1 or more")
    try:
        config = TrlConfig.model_validate(fields)
    except ValidationError as error:
        raise explain(error, TrlConfig, str(path)) from None
    return TrlFile(config, processes, {key: value for key, value in given.items() if key not in own})
