"""Rewards by models: a sequence classifier that exists, or one that is taught from preferences first.

Which model it is stands here; `benchmarks/models/reward.py` loads it and sets `judge`.
"""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppo_vs_grpo.tasks import tables
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.options import finite, text, whole_number
from ppo_vs_grpo.tasks.rewards.base import Rated, RatingError, place_of

Judge = Callable[[Sequence[Problem], Sequence[str]], list[float]]
"""A model's rewards of completions, from their problems and texts."""

TEMPLATES = ("auto", "text", "text+end")
DTYPES = ("float32", "bfloat16", "float16")
PAIR = ("prompt", "chosen", "rejected")
FILES = ("*.json", "*.jinja", "*.safetensors", "*.model", "*.txt")
"""The files of a saved model that decide a reward, as patterns."""


@dataclass(slots=True)
class ModelReward:
    """The reward by a sequence classifier with one label, in a folder or of the hub.

    `template`: `auto` writes prompt and completion as a conversation in the model's own chat template, or as plain text
    if it has none; `text` is plain text; `text+end` adds the end token, as TRL's RewardTrainer does. A row has at most
    `max_tokens`, by default what the model reads; a longer one loses its beginning. `batch` rows are read at once.
    `taught` says from what the model is taught; then `model` is its base, empty for the start model of the run.
    """

    name: str
    model: str
    template: str = "auto"
    device: str = "cpu"
    dtype: str = "float32"
    batch: int = 16
    max_tokens: int | None = None
    taught: Teaching | None = None
    judge: Judge | None = None

    def rate(
        self, problems: Sequence[Problem], completions: Sequence[str], completion_ids: Sequence[Sequence[int]]
    ) -> list[Rated]:
        """The model's rewards. Raises ValueError if `judge` is not set, RatingError for one that is not finite."""
        if self.judge is None:
            raise ValueError(f"the reward {self.name} needs its model: set `judge`")
        rewards = self.judge(problems, completions)
        for problem, completion, reward in zip(problems, completions, rewards, strict=True):
            if not math.isfinite(reward):
                raise RatingError(f"{place_of(self.name, problem, completion)}: the model {self.model!r} gave {reward}")
        return [Rated(reward) for reward in rewards]

    def check(self, problems: Sequence[Problem]) -> None:
        """Any row will do."""

    def digest(self) -> str:
        """What the model is told by, and a hash of its files; a model of the hub counts by its name with the commit."""
        taught = "" if self.taught is None else f" taught {self.taught.digest()}"
        return f"{_files_digest(self.model)}{taught} {self.template} {self.dtype} {self.max_tokens}"


@dataclass(frozen=True, slots=True)
class Teaching:
    """How a reward model is taught: the file of pairs, passes over it, and the learning rate."""

    pairs: Path
    epochs: int
    learning_rate: float

    def digest(self) -> str:
        """A hash of the pairs, and the settings."""
        return f"{hashlib.sha256(self.pairs.read_bytes()).hexdigest()[:12]} {self.epochs} {self.learning_rate:g}"


def model_reward(name: str, given: Mapping[str, Any]) -> ModelReward:
    """The reward model that a suite asks for. Raises UserError where its folder is not there, or a setting is wrong."""
    model = text("reward.model", given["model"])
    if not Path(model).expanduser().is_dir() and _is_path(model):
        raise UserError(f"options.reward.model: {model!r}: there is no such folder in {Path.cwd()}")
    return ModelReward(name, model, **_settings(given))


def preference_reward(name: str, given: Mapping[str, Any]) -> ModelReward:
    """The reward model that is to be taught from a suite's file of pairs. Raises UserError where a row is no pair."""
    place, base = text("reward.preferences", given["preferences"]), given.get("base")
    for number, row in enumerate(tables.read("reward.preferences", place), 1):
        for column in PAIR:
            if not isinstance(row.get(column), str):
                raise UserError(f"options.reward.preferences: {place}, row {number}: {column} should be a text")
    epochs = whole_number("reward.epochs", given.get("epochs", 1), 1, 1000)
    learning_rate = finite("reward.learning_rate", given.get("learning_rate", 1e-5))
    if learning_rate <= 0:
        raise UserError(f"options.reward.learning_rate: {learning_rate:g}: should be above 0")
    if base is not None and not Path(text("reward.base", base)).expanduser().is_dir() and _is_path(base):
        raise UserError(f"options.reward.base: {base!r}: there is no such folder in {Path.cwd()}")
    teaching = Teaching(Path(place).expanduser().absolute(), epochs, learning_rate)
    return ModelReward(name, base or "", taught=teaching, **_settings(given))


def _is_path(model: str) -> bool:
    """Whether it is no name of the hub, which is maker/model or maker/model@revision."""
    return model.startswith((".", "/", "~")) or model.partition("@")[0].count("/") != 1


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    settings = {
        key: given[key] for key in ("template", "device", "dtype", "batch", "max_tokens") if given.get(key) is not None
    }
    for key, known in (("template", TEMPLATES), ("dtype", DTYPES)):
        if key in settings and settings[key] not in known:
            raise UserError(f"options.reward.{key}: {settings[key]!r}: should be one of {', '.join(known)}")
    for key, highest in (("batch", 65536), ("max_tokens", 2**20)):
        if key in settings:
            whole_number(f"reward.{key}", settings[key], 1, highest)
    if "device" in settings:
        text("reward.device", settings["device"])
    return settings


def _files_digest(model: str) -> str:
    folder = Path(model).expanduser()
    if not model or not folder.is_dir():
        return model
    files = sorted({path for pattern in FILES for path in folder.glob(pattern)})
    return _content_digest(tuple((path, (stat := path.stat()).st_size, stat.st_mtime_ns) for path in files))


@functools.lru_cache
def _content_digest(files: tuple[tuple[Path, int, int], ...]) -> str:
    """A hash of names and contents; sizes and times of change only say whether it is still known."""
    found = hashlib.sha256()
    for path, _, _ in files:
        found.update(path.name.encode())
        with path.open("rb") as file:
            found.update(hashlib.file_digest(file, "sha256").digest())
    return found.hexdigest()[:12]
