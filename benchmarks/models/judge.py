"""Sequence classifiers as judges: what they are asked, in which form, and what of them is refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.models import hub
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards.models import Judge, ModelReward

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

KEY = "options.reward.model"
"""What a message about a reward model begins with."""


def open_judge(asked: ModelReward) -> Judge:
    """The model that a reward names, on its own device. UserError where it cannot be loaded or is no reward model."""
    import torch
    from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

    place = hub.download(hub.at_commit(asked.model, KEY), KEY) if hub.is_name(asked.model) else asked.model
    try:
        config = AutoConfig.from_pretrained(place)
        if config.num_labels != 1:
            raise _refused(asked, f"it has {config.num_labels} labels; a reward model has one (num_labels=1)")
        tokenizer = AutoTokenizer.from_pretrained(place)
        if tokenizer.pad_token_id is None:
            raise _refused(asked, "its tokenizer has no pad token; name one in its tokenizer_config.json")
        model, found = AutoModelForSequenceClassification.from_pretrained(
            place, dtype=getattr(torch, asked.dtype), use_safetensors=True, output_loading_info=True
        )
    except (OSError, ValueError, ImportError) as error:
        if isinstance(error, UserError):
            raise
        raise _refused(asked, f"it cannot be loaded ({' '.join(str(error).split())})") from error
    if missing := sorted(found["missing_keys"]):
        raise _refused(
            asked, f"its file has no weights for {missing[0]}; a model that was not taught rewards at random"
        )
    model.config.pad_token_id = tokenizer.pad_token_id  # by which it finds a row's last token
    try:
        torch.nn.Module.to(model, asked.device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"options.reward.device: {asked.device!r}: {str(error).splitlines()[0]}") from error
    as_taught = "text+end" if asked.taught is not None and tokenizer.chat_template is None else asked.template
    return judge_of(model, tokenizer, as_taught, asked.batch, _limit(asked, model, tokenizer))


def judge_of(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    template: str = "text+end",
    batch: int = 256,
    max_tokens: int | None = None,
) -> Judge:
    """Rewards by a sequence classifier: prompts and completions in the form of a template, `batch` rows at once.

    Rows are padded on the right under an attention mask; one longer than `max_tokens` loses its beginning.
    """
    import torch

    model.eval()
    tokenizer.truncation_side = "left"
    scale, shift = getattr(model.config, "reward_scale", 1.0), getattr(model.config, "reward_shift", 0.0)
    cut = {} if max_tokens is None else {"truncation": True, "max_length": max_tokens}

    @torch.no_grad()
    def judge(problems: Sequence[Problem], completions: Sequence[str]) -> list[float]:
        whole, special = written(tokenizer, template, problems, completions)
        form: dict[str, Any] = {"padding": True, "padding_side": "right", "add_special_tokens": special, **cut}
        rewards: list[float] = []
        for at in range(0, len(whole), batch):
            rows = tokenizer(whole[at : at + batch], return_tensors="pt", **form)
            inputs = {name: rows[name].to(model.device) for name in ("input_ids", "attention_mask")}
            rewards += (model(**inputs).logits[:, 0].float() * scale + shift).tolist()
        return rewards

    return judge


def written(
    tokenizer: PreTrainedTokenizerBase, template: str, problems: Sequence[Problem], completions: Sequence[str]
) -> tuple[list[str], bool]:
    """Each prompt with its completion as the model reads it, and whether the tokenizer adds its special tokens.

    A chat template writes them itself.
    """
    if template == "auto" and tokenizer.chat_template is not None:
        conversations = [_conversation(problem, text) for problem, text in zip(problems, completions, strict=True)]
        return [str(tokenizer.apply_chat_template(each, tokenize=False)) for each in conversations], False
    end = tokenizer.eos_token if template == "text+end" else ""
    return [f"{problem.prompt}{text}{end}" for problem, text in zip(problems, completions, strict=True)], True


def _conversation(problem: Problem, text: str) -> list[dict[str, str]]:
    asked = problem.messages or ({"role": "user", "content": problem.prompt},)
    return [*map(dict, asked), {"role": "assistant", "content": text}]


def _limit(asked: ModelReward, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """The tokens of a row: as asked, or what the model reads."""
    readable = min(getattr(model.config, "max_position_embeddings", None) or 2**20, tokenizer.model_max_length)
    if asked.max_tokens is not None and asked.max_tokens > readable:
        raise UserError(f"options.reward.max_tokens: {asked.max_tokens}: the model {asked.model!r} reads {readable}")
    return asked.max_tokens or readable


def _refused(asked: ModelReward, why: str) -> UserError:
    return UserError(f"{KEY}: {asked.model!r}: {why}")
