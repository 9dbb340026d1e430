"""The page of transcripts: texts as text, whatever is in them, and no larger than it may be."""

from __future__ import annotations

import html
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pytest

from handmade import made
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results
from ppo_vs_grpo.benchmarks.analysis.frames.transcripts import Transcript
from ppo_vs_grpo.benchmarks.analysis.report import transcripts, write
from ppo_vs_grpo.benchmarks.analysis.report.transcripts import PAGE, marks, transcripts_page
from ppo_vs_grpo.benchmarks.records.visible import shown
from synthetic import make_suite, write_results

ARMS = ("ppo", "grpo")


def results(completions: dict[str, list[str]], prompts: list[str], passed: dict[str, list[bool]]) -> Results:
    """One seed of a task: each arm's completions at the end, the same `?` before training."""
    tasks = {"a": [[0.1, 0.5]]}
    rows: list[dict[str, Any]] = [
        {"arm": arm, "task": "a", "seed": 0, "key": f"{arm}.a.s0", "update": update, "prompt": prompt}
        | {"completion": completions[arm][i] if update else "?", "reward": float(passed[arm][i] and update > 0)}
        | {"passed": passed[arm][i] and update > 0, "tokens": 7, "ended": False}
        for arm in completions
        for update in (0, 9)
        for i, prompt in enumerate(prompts)
    ]
    return replace(made(dict.fromkeys(completions, tasks)), samples=pd.DataFrame(rows))


def page_of(of: Results) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(write.TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    page = transcripts_page(environment, of, "01234567")
    assert page is not None
    return page


def texts(page: str) -> list[str]:
    """What stands in the page's boxes of text, as a browser reads them: a first line end is none of theirs."""
    return [html.unescape(text) for text in re.findall(r"<pre[^>]*>\n(.*?)</pre>", page, re.DOTALL)]


def test_a_prompt_stands_once_with_the_common_start_and_each_arms_completion() -> None:
    right = {"ppo": [True, True], "grpo": [True, False]}
    page = page_of(results({"ppo": ["p0", "p1"], "grpo": ["g0", "g1"]}, ["one", "two"], right))
    assert texts(page) == ["two", "?", "p1", "g1", "one", "?", "p0", "g0"]
    assert "<h3>Prompt 1: only ppo</h3>" in page
    assert "Of these 2 prompts ppo solves 2 and grpo solves 1 at the end; they differ on 1." in page
    assert "<b>ppo</b> ✓ passed · reward 1 · 7 tokens · cut off at the limit" in page
    assert "<b>grpo</b> ✗ failed · reward 0 · 7 tokens · cut off at the limit" in page
    assert page.count("<b>start</b> ✗ failed") == 2


ODD = {
    "markup": ("<script>alert(1)</script></pre>&amp;", "<script>alert(1)</script></pre>&amp;"),
    "a terminal's colours": ("\x1b[31mred\x1b[0m\x07", "⟨U+001B⟩[31mred⟨U+001B⟩[0m⟨U+0007⟩"),
    "marks that turn text round": ("a\u202eb\u2066c\u200f", "a⟨U+202E⟩b⟨U+2066⟩c⟨U+200F⟩"),
    "line ends and tabs": ("\n\n a\tb\n", "\n\n a\tb\n"),
    "other line ends": ("a\r\n\x85\u2028", "a⟨U+000D⟩\n⟨U+0085⟩⟨U+2028⟩"),
    "letters from right to left": ("שלום \u200d", "שלום \u200d"),
    "null and delete": ("\x00\x7f", "⟨U+0000⟩⟨U+007F⟩"),
}


@pytest.mark.parametrize("case", ODD)
def test_a_text_is_shown_as_text(case: str) -> None:
    text, seen = ODD[case]
    page = page_of(results({"ppo": [text]}, [text], {"ppo": [True]}))
    assert texts(page) == [seen, "?", seen]
    assert "<script" not in page


def test_half_a_character_can_be_written() -> None:
    assert shown("a\ud800") == "a⟨U+D800⟩"


def test_an_empty_text_is_said_to_be_one() -> None:
    page = page_of(results({"ppo": [""]}, ["one"], {"ppo": [False]}))
    assert texts(page) == ["one", "?"]
    assert page.count("(an empty text)") == 1


def test_of_a_long_text_beginning_and_end_are_shown() -> None:
    text = "a" * 500_000 + "b" * 500_000
    assert shown(text) == "a" * 1000 + "\n[… 998,000 characters left out …]\n" + "b" * 1000
    assert shown("c" * 2000) == "c" * 2000
    assert len(page_of(results({"ppo": [text]}, [text], {"ppo": [True]}))) < 20_000


def test_a_page_that_would_be_too_large_has_shorter_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    many = {arm: ["<" * 3000] * 20 for arm in ARMS}
    of = results(many, [f"prompt {i}" for i in range(20)], {arm: [True] * 20 for arm in ARMS})
    assert len(page_of(of).encode()) > 300_000
    monkeypatch.setattr(transcripts, "PAGE_BYTES", 200_000)
    page = page_of(of)
    assert len(page.encode()) <= 200_000
    assert texts(page)[2] == "<" * 500 + "\n[… 2,000 characters left out …]\n" + "<" * 500
    monkeypatch.setattr(transcripts, "PAGE_BYTES", 1)
    assert len(texts(page_of(of))) == 80  # however short, every text is there


def test_what_a_record_does_not_say_is_not_marked() -> None:
    assert marks(Transcript("", False, None, None, None)) == "failed"
    assert marks(Transcript("", True, 0.12345, 1, True)) == "passed · reward 0.123 · 1 token · ended"


def test_a_report_without_transcripts_has_no_page_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = make_suite(arms=("ppo",), tasks=("recall",), seeds=1, updates=4, prompts=4, timing=False)
    of = load(write_results(tmp_path, suite))
    monkeypatch.setattr(write, "drawings", lambda _: {})
    first = write.write(of, tmp_path)
    assert (tmp_path / PAGE).is_file()
    assert f'href="{PAGE}"' in first.read_text()
    assert "<b>ppo</b> ✓ passed · reward 1 · 2 tokens · ended" in (tmp_path / PAGE).read_text()
    write.write(replace(of, samples=of.samples[:0]), tmp_path)
    assert not (tmp_path / PAGE).exists()
    for file in ("report.html", "report.md"):
        assert PAGE not in (tmp_path / file).read_text()
