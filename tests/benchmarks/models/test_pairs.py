"""A reward model from a user's pairs: taught once, from the run's start model or another, and then a judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoTokenizer

from ppo_vs_grpo.benchmarks.models import reward, tiny
from ppo_vs_grpo.benchmarks.models.judge import open_judge
from ppo_vs_grpo.benchmarks.models.pairs import taught
from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE
from ppo_vs_grpo.tasks.errors import UserError

SIZE = tiny.Size(hidden=32, layers=1, heads=2, intermediate=32, learning_rate=1e-2)
CHAT = "{% for m in messages %}[{{ m['role'][0] }}]{{ m['content'] }}{% endfor %}"
SETTINGS = {"epochs": 10, "learning_rate": 1e-2}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


def start(folder: Path, template: str | None = None) -> Path:
    words = tiny.tokenizer()
    words.chat_template = template
    tiny.untrained(SIZE, words).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def pairs(folder: Path, *more: dict[str, Any]) -> str:
    """Completions with an `a` are better than those with a `b`."""
    rng = np.random.default_rng(0)
    rows = [
        {"prompt": f"{n}:", "chosen": f"{x}a{x}", "rejected": f"{x}b{x}"}
        for n, x in enumerate(rng.integers(9, size=64))
    ]
    (folder / "pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, *more]))
    return str(folder / "pairs.jsonl")


class Rows:
    """A task with rewards."""

    def __init__(self, given: dict[str, Any]) -> None:
        self.rewards = rewards.make(given)


@pytest.mark.parametrize("template", [None, CHAT])
def test_a_taught_model_prefers_what_the_pairs_prefer(tmp_path: Path, cache: Path, template: str | None) -> None:
    task = Rows({"preferences": pairs(tmp_path), **SETTINGS})
    assert task.rewards.names == ("preferences",)
    folder = start(tmp_path / "start", template)
    reward.give_judges(task, folder, 0, "cpu")  # type: ignore[arg-type]
    asked = [Problem(f"{n}:") for n in range(100, 120)]
    found = [task.rewards.rate(asked, [text] * 20, [()] * 20) for text in ("3a3", "3b3")]
    assert all((good.reward or 0) > (bad.reward or 0) + 1 for good, bad in zip(*found, strict=True))
    (made,) = cache.glob("reward.*/config.json")
    before = made.stat().st_mtime_ns
    reward.give_judges(Rows({"preferences": pairs(tmp_path), **SETTINGS}), folder, 1, "cpu")  # type: ignore[arg-type]
    assert [path.stat().st_mtime_ns for path in cache.glob("reward.*/config.json")] == [before]
    assert [path.name for path in cache.iterdir() if path.name.startswith(".building")] == []
    assert (AutoTokenizer.from_pretrained(made.parent).chat_template is None) == (template is None)
    (asked_model,) = task.rewards.models
    assert open_judge(asked_model.__class__("m", str(made.parent), "text+end" if template is None else "auto"))(
        asked[:1], ["3a3"]
    ) == pytest.approx([found[0][0].reward], abs=1e-5)


def test_what_makes_a_model_decides_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "ppo_vs_grpo.benchmarks.models.pairs.subprocess.run", lambda *a, **k: type("", (), {"returncode": 0})
    )
    first, second = start(tmp_path / "one"), start(tmp_path / "two", CHAT)

    def folder(**changes: Any) -> str:
        given = {"preferences": str(tmp_path / "pairs.jsonl"), **SETTINGS, **changes}
        return taught(rewards.make(given).models[0], first).name

    pairs(tmp_path)
    found = [folder(), folder(epochs=2), folder(learning_rate=1e-3), folder(batch=4), folder(base=str(second))]
    assert folder(base=str(first)) == found[0]
    pairs(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b"})
    found.append(folder())
    assert len(set(found)) == 6


def test_a_base_that_cannot_be_taught_is_told_in_one_message(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (asked,) = rewards.make({"preferences": pairs(tmp_path), "base": str(tmp_path / "empty")}).models
    with pytest.raises(
        UserError, match=r"^options\.reward\.preferences: no model could be taught from .*pairs.jsonl: \S"
    ):
        taught(asked, tmp_path)


@pytest.mark.parametrize(
    ("changes", "more", "words"),
    [
        ({}, {"prompt": "p", "chosen": "a"}, r"preferences: .*pairs.jsonl, row 65: rejected should be a text"),
        ({"epochs": 0}, {}, "epochs: 0: should be a whole number from 1"),
        ({"learning_rate": 0}, {}, "learning_rate: 0: should be above 0"),
        ({"base": "nowhere"}, {}, "base: 'nowhere': there is no such folder in "),
    ],
)
def test_wrong_pairs_and_settings_are_refused(
    tmp_path: Path, changes: dict[str, Any], more: dict[str, Any], words: str
) -> None:
    path = pairs(tmp_path, *([more] if more else []))
    with pytest.raises(UserError, match=rf"^options\.reward\.{words}"):
        rewards.make({"preferences": path, **changes})
