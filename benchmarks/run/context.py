"""Do a task's prompts fit a start model's context? Asked before the first run where the model is there, else by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.tasks import make
from ppo_vs_grpo.tasks.base import Problem, Task
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown
from ppo_vs_grpo.tasks.splits import problems

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

DRAWN = 64
"""Problems that a task is asked for which draws them without end."""


def check_contexts(specs: Sequence[RunSpec], folder: Path) -> None:
    """Check one run of each task, chat and limit that start from the model in the folder."""
    from transformers import AutoConfig, AutoTokenizer

    tokenizer, config = AutoTokenizer.from_pretrained(folder), AutoConfig.from_pretrained(folder)
    asked = {(s.task, s.train.chat.model_dump_json(), s.train.max_new_tokens): s for s in specs}
    for spec in asked.values():
        check_context(spec, make(spec.task_choice.task, spec.task_choice.options), tokenizer, config)


def check_context(spec: RunSpec, task: Task, tokenizer: PreTrainedTokenizerBase, config: PretrainedConfig) -> None:
    """UserError where a prompt of the task with its longest completion is longer than the model's context.

    All rows are asked, or the first problems of a task that draws. A model that has no limit has no such number.
    """
    from ppo_vs_grpo.algorithms.shared.prompts import encode

    context = getattr(config.get_text_config(), "max_position_embeddings", None)
    if context is None:
        return
    new_tokens = spec.train.max_new_tokens or task.max_new_tokens
    prompts = encode(tokenizer, _asked(task, spec), spec.train.chat)
    tokens, problem = max(zip(map(len, prompts.ids), prompts.problems, strict=True), key=lambda pair: pair[0])
    if tokens + new_tokens > context:
        raise UserError(
            f"tasks.{spec.task}: the prompt {shown(problem.prompt, BRIEF)} has {tokens} tokens and its completion up "
            f"to {new_tokens}, and the start model's context is {context}; leave long prompts out, or lower "
            "train.max_new_tokens"
        )


def _asked(task: Task, spec: RunSpec) -> Sequence[Problem]:
    if hasattr(task, "rows"):
        return [*task.rows("train"), *task.rows("validation" if spec.tuning else "heldout")]
    return problems(task, "train", spec.seed, 0, DRAWN)
