"""Reports of texts that were made to act on who reads them: pages and terminals show them as text."""

from __future__ import annotations

import gzip
import html
import json
from io import StringIO

import pandas as pd
import pytest
from rich.console import Console
from typer.testing import CliRunner

from damage import read_json, rehash, reseal, run_folder
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.analysis.report.index import write_index
from ppo_vs_grpo.benchmarks.analysis.report.terminal import print_rows, print_summary
from ppo_vs_grpo.benchmarks.analysis.report.write import environment
from ppo_vs_grpo.benchmarks.records.lock import write_lock
from ppo_vs_grpo.benchmarks.suites.resolve import lock_document
from synthetic import make_specs, make_suite, write_results

START = "<script>alert(1)</script>\x1b[31m\x07\u202e\x00"
ACTING = START + "\ud800"
SEEN = "<script>alert(1)</script>⟨U+001B⟩[31m⟨U+0007⟩⟨U+202E⟩⟨U+0000⟩"
RAW = ("\x1b", "\x07", "\u202e", "\x00", "\ud800")
LONG = "a" * 10**6

Told = dict[str, str]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    """What the report of such texts says, by file, and `terminal`, what the commands print."""
    folder = tmp_path_factory.mktemp("results") / "hostile"
    suite = make_suite(tasks=("recall",), seeds=2, updates=6, prompts=4, timing=False)
    suite = suite.model_copy(update={"start": START, "description": ACTING + LONG})
    write_results(folder, suite, failed=["grpo.recall.s1"])
    failed, well = (run_folder(folder, cell) for cell in ("grpo.recall.s1", "ppo.recall.s0"))
    reseal(failed, error=f"ValueError: {ACTING}{LONG}")
    samples = well / "samples.jsonl.gz"
    lines = gzip.decompress(samples.read_bytes()).splitlines()
    rows = [json.loads(line) | {"completion": ACTING + LONG} for line in lines]
    samples.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))
    rehash(well)
    seals = {path.parent.name: read_json(path)["seal"] for path in folder.glob("runs/*/manifest.json")}
    changed = {"train.beta": [ACTING, LONG], "start": ["nano", START]}
    write_lock(folder, lock_document(suite, make_specs(suite), changed), seals)
    with pytest.MonkeyPatch.context() as patch:  # figures show labels alone, and take seconds
        patch.setattr("ppo_vs_grpo.benchmarks.analysis.report.write.drawings", lambda _: {})
        done = CliRunner().invoke(app, ["report", str(folder)])
    compared = CliRunner().invoke(app, ["compare", str(folder), str(folder)])
    for one in (done, compared):
        assert one.exit_code == 0, one.exception
    write_index(folder.parent)
    pages = [*(folder / "report").glob("*.*"), *(folder / "report/tables").iterdir(), folder.parent / "index.html"]
    return {path.name: path.read_text(encoding="utf-8") for path in pages} | {
        "terminal": done.output + done.stderr + compared.output
    }


def test_nothing_acts_on_who_reads(told: Told) -> None:
    assert {name: [raw for raw in RAW if raw in text] for name, text in told.items()} == {name: [] for name in told}
    for name in ("report.html", "transcripts.html", "index.html"):
        assert "<script>alert" not in told[name], name


@pytest.mark.parametrize("name", ["report.html", "transcripts.html", "index.html", "report.md", "unfinished.csv"])
def test_it_is_shown_as_text(told: Told, name: str) -> None:
    assert SEEN + "⟨U+D800⟩" in html.unescape(told[name])


def test_what_was_changed_is_shown_as_text(told: Told) -> None:
    assert f"start {SEEN} instead of nano" in html.unescape(told["report.html"])
    assert f"start {SEEN} instead of nano" in told["report.md"]


def test_a_megabyte_is_cut_and_its_characters_are_counted(told: Told) -> None:
    assert {name: len(text) for name, text in told.items() if len(text) > 300_000} == {}
    for name in ("report.html", "transcripts.html", "index.html", "report.md", "unfinished.csv"):
        assert "characters left out …]" in told[name], name


def test_labels_of_a_foreign_lock_are_text_in_pages_and_terminals() -> None:
    label = "<script>\x1b[31m\u202e"
    frame = pd.DataFrame([{"task": label, "arm": label, "n": "2", "note": label}])
    screen = StringIO()
    console = Console(file=screen, width=200)
    print_summary(console, frame)
    print_rows(console, [("[red]arm", label)])
    html_page = environment(html=True).from_string("{{ label }}").render(label=label)
    assert html_page == "&lt;script&gt;⟨U+001B⟩[31m⟨U+202E⟩"
    assert (
        environment(html=False)
        .from_string("{{ label }} {{ frame | markdown }}")
        .render(label=label, frame=frame[["task"]])
        == "<script>⟨U+001B⟩[31m⟨U+202E⟩ | task |\n| --- |\n| <script>⟨U+001B⟩[31m⟨U+202E⟩ |"
    )
    assert [raw for raw in RAW if raw in screen.getvalue()] == []
    assert screen.getvalue().count("<script>⟨U+001B⟩[31m⟨U+202E⟩") == 6
    assert "[red]arm" in screen.getvalue()
