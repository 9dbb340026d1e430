"""Reward models taught from pairs: of a learned task's own completions, or of a user's file.

A user's is taught once, in a process of its own, and kept beside the start models by the hash of what made it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.models import hub, saved
from ppo_vs_grpo.benchmarks.models.taught import TEACHING, told_steps
from ppo_vs_grpo.tasks import tables
from ppo_vs_grpo.tasks.cache import cache_folder
from ppo_vs_grpo.tasks.environment import allowed
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards.models import ModelReward

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

RECIPE = 1
"""Version of `_make`; part of the content hash."""

BASE_KEY = "options.reward.base"
"""What a message about the base model begins with."""


def train(
    base: str, tokenizer: PreTrainedTokenizerBase, pairs: Sequence[Mapping[str, Any]], scratch: Path, **settings: Any
) -> PreTrainedModel:
    """Teach the base model with a new head of one number, by TRL's RewardTrainer. `settings` has a `seed`."""
    import torch
    from datasets import Dataset
    from transformers import AutoModelForSequenceClassification
    from trl import RewardConfig, RewardTrainer

    seed = settings["seed"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=1, dtype=torch.float32
        )
    RewardTrainer(
        model=model,
        args=RewardConfig(output_dir=str(scratch), **TEACHING | settings),
        train_dataset=Dataset.from_list([dict(pair) for pair in pairs]),
        processing_class=tokenizer,
        callbacks=[told_steps(f" of reward model {seed}")],
    ).train()
    shutil.rmtree(scratch, ignore_errors=True)
    return model


def taught(asked: ModelReward, start: Path) -> Path:
    """The folder of the model that is taught from a user's pairs, by default from the run's start model.

    It is taught unless it is there; several processes may ask at once. Raises UserError where that fails.
    """
    from filelock import FileLock

    recipe = _recipe(asked, asked.model or str(start))
    made_of = recipe | {"base": _digest(recipe["base"], cache_folder()), "pairs": _file_digest(recipe["pairs"])}
    name = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_folder() / f"reward.{name}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if not (folder / "config.json").is_file():
            module = "ppo_vs_grpo.benchmarks.models.pairs"
            command = [sys.executable, "-P", "-m", module, json.dumps(recipe), str(folder)]
            done = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, env=allowed(os.environ))
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                raise UserError(f"options.reward.preferences: no model could be taught from {recipe['pairs']}: {last}")
    return folder


def _recipe(asked: ModelReward, base: str) -> dict[str, Any]:
    assert asked.taught is not None, "only what is taught has a recipe"
    return {
        "recipe": RECIPE,
        "base": base,
        "pairs": str(asked.taught.pairs),
        "epochs": asked.taught.epochs,
        "learning_rate": asked.taught.learning_rate,
        "batch": asked.batch,
        "on_cpu": asked.device == "cpu",
        "versions": {package: version(package) for package in ("torch", "transformers", "trl")},
    }


def _digest(base: str, cache: Path) -> str:
    folder = Path(base).expanduser()
    return saved.digest_of(folder, saved.read_files(folder), cache) if folder.is_dir() else base


def _file_digest(path: str) -> str:
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def _make(recipe: Mapping[str, Any], folder: Path) -> None:
    from transformers import AutoTokenizer

    base = recipe["base"]
    if hub.is_name(base):
        base = str(hub.download(hub.at_commit(base, BASE_KEY), BASE_KEY))
    tokenizer = AutoTokenizer.from_pretrained(base)
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    rows = tables.read("reward.preferences", recipe["pairs"])
    scratch = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    settings = {
        "num_train_epochs": recipe["epochs"],
        "learning_rate": recipe["learning_rate"],
        "per_device_train_batch_size": recipe["batch"],
        "use_cpu": recipe["on_cpu"],
        "seed": 0,
    }
    try:
        pairs = [_pair(row, tokenizer.chat_template is not None) for row in rows]
        model = train(base, tokenizer, pairs, scratch / ".trainer", **settings)
        model.save_pretrained(scratch)
        tokenizer.save_pretrained(scratch)
        scratch.rename(folder)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _pair(row: Mapping[str, Any], as_conversation: bool) -> dict[str, Any]:
    """A pair as TRL reads it: texts, or messages for a model with a chat template."""
    prompt, chosen, rejected = row["prompt"], row["chosen"], row["rejected"]
    if not as_conversation:
        return {"prompt": prompt, "chosen": chosen, "rejected": rejected}
    answers = ([{"role": "assistant", "content": text}] for text in (chosen, rejected))
    return {"prompt": [{"role": "user", "content": prompt}], **dict(zip(("chosen", "rejected"), answers, strict=True))}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Teach a reward model from pairs.")
    parser.add_argument("recipe", help="as JSON")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    _make(json.loads(arguments.recipe), arguments.folder)
