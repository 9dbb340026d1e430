"""A warm start from demonstrations."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.models.tiny import Size, tokenizer, untrained
from ppo_vs_grpo.tasks.base import Task
from ppo_vs_grpo.tasks.splits import demonstrations

if TYPE_CHECKING:
    from transformers import TrainerCallback, TrainerState

RECIPE = 1
"""Version of `warm_start` apart from a size's numbers; part of the content hash."""

TEACHING: dict[str, Any] = {
    **{"lr_scheduler_type": "cosine", "use_cpu": True, "bf16": False, "gradient_checkpointing": False, "seed": 0},
    **{"report_to": [], "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True},
}
"""Settings of TRL's trainers that teach a start model or its reward model: quiet, repeatable, no files left behind."""


def warm_start(size: Size, task: Task, folder: Path) -> None:
    """Teach a model of this size the task's form from demonstrations, and save it into the folder."""
    from datasets import Dataset, disable_caching, disable_progress_bars
    from trl import SFTConfig, SFTTrainer

    disable_caching()
    disable_progress_bars()
    characters = tokenizer()
    taught = demonstrations(task, size.demonstrations)
    rows = Dataset.from_list([{"prompt": p.prompt, "completion": answer} for p, answer in taught])
    arguments = SFTConfig(
        output_dir=str(folder / ".trainer"),
        max_steps=size.steps,
        per_device_train_batch_size=size.batch,
        learning_rate=size.learning_rate,
        warmup_steps=size.steps // 10,
        **TEACHING,
    )
    model = untrained(size, characters)
    callbacks = [told_steps("")]
    SFTTrainer(
        model=model, args=arguments, train_dataset=rows, processing_class=characters, callbacks=callbacks
    ).train()
    model.save_pretrained(folder)
    characters.save_pretrained(folder)
    shutil.rmtree(folder / ".trainer", ignore_errors=True)


def told_steps(what: str) -> TrainerCallback:
    """Print a line after each quarter of the steps; other processes see only the log."""
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        def on_step_end(self, args: Any, state: TrainerState, control: Any, **kwargs: Any) -> None:
            if state.global_step % max(1, state.max_steps // 4) == 0:
                print(f"step {state.global_step} of {state.max_steps}{what}", flush=True)

    return Told()
