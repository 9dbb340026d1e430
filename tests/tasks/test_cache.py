"""What is remembered from one process to the next: nothing twice, nothing wrong, and nothing that must be there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ppo_vs_grpo.tasks.cache import CACHE_VARIABLE, Remembered


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Asked(list[list[str]]):
    """Whether texts are short; the calls are kept."""

    def __call__(self, texts: Sequence[str]) -> list[bool]:
        self.append(list(texts))
        return [len(text) < 2 for text in texts]


def test_only_what_is_not_known_is_asked() -> None:
    asked = Asked()
    assert Remembered("short?").of(["a", "long", "a"], asked) == [True, False, True]
    assert Remembered("short?").of(["long", "b"], asked) == [False, True]
    assert asked == [["a", "long"], ["b"]]
    assert Remembered("another?").of(["a"], asked) == [True]
    assert asked[2:] == [["a"]]
    assert Remembered("short?").of(["\ud800"], asked) == [True]  # half a character is a text too


def test_a_line_that_was_cut_short_is_asked_again(cache: Path) -> None:
    asked = Asked()
    texts = ["a", "b", "long"]
    Remembered("short?").of(texts, asked)
    (file,) = cache.iterdir()
    whole = file.read_text()
    for length in range(len(whole)):
        file.write_text(whole[:length])
        for _ in range(2):  # what is added stands behind the half line
            assert Remembered("short?").of(texts, asked) == [True, True, False]
    file.write_bytes(b"\xff\xfe")
    assert Remembered("short?").of(texts, asked) == [True, True, False]


def test_a_folder_that_cannot_be_written_only_costs_time(cache: Path) -> None:
    cache.write_text("no folder")
    asked = Asked()
    for _ in range(2):
        assert Remembered("short?").of(["a"], asked) == [True]
    assert asked == [["a"], ["a"]]
