from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from checkout import ROOT
from ppo_vs_grpo.algorithms.shared.config import TrainConfig
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.analysis.frames import outcomes
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge
from ppo_vs_grpo.benchmarks.analysis.report import captions as wording
from ppo_vs_grpo.benchmarks.analysis.report import contents, tables, terminal, write
from ppo_vs_grpo.benchmarks.analysis.report.answer import answer
from ppo_vs_grpo.benchmarks.analysis.report.contents import SEARCHED
from ppo_vs_grpo.benchmarks.analysis.report.verify import verify
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_specs, make_suite, write_results

SMALL: dict[str, Any] = {"tasks": ("sorting", "recall"), "seeds": 3, "updates": 12, "prompts": 16}
ONE: dict[str, Any] = SMALL | {"tasks": ("recall",)}
WRITE = (
    "import sys, pathlib; from ppo_vs_grpo.benchmarks import load; "
    "from ppo_vs_grpo.benchmarks.analysis.report.write import write; "
    "write(load(sys.argv[1]), pathlib.Path(sys.argv[2]))"
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_results(tmp_path_factory.mktemp("small"), make_suite(**SMALL))


@pytest.fixture(scope="module")
def page(folder: Path) -> Path:
    return write.write(load(folder), folder / "report")


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_rebuild_elsewhere_is_the_same_bytes_and_needs_no_torch(folder: Path, page: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy", ignore=shutil.ignore_patterns("report"))
    check = "; assert not {'torch', 'transformers', 'trl', 'matplotlib.pyplot'} & set(sys.modules), 'too much imported'"
    arguments = [str(tmp_path / "copy"), str(tmp_path / "report")]
    environment = os.environ | {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "SOURCE_DATE_EPOCH": "1"}
    subprocess.run([sys.executable, "-c", WRITE + check, *arguments], check=True, env=environment, timeout=60)
    first, second = written(page.parent), written(tmp_path / "report")
    assert list(first) == list(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_the_files_have_stable_names(page: Path) -> None:
    probed = ("gradient_noise", "baselines", "critic", "memory_by_role", "operations", "ranking")
    stated = ("attribution", "claims", "dials", "other_pairs", "signs", "sizes", "speed", "speed_runs", "throughput")
    absent = (*probed, *stated, *SEARCHED)
    names = [f"tables/{stem}.csv" for stem in wording.TABLES if stem not in absent]
    assert sorted(written(page.parent)) == sorted(
        [*names, "figures/forest.png", "report.html", "transcripts.html", "report.md", "claims.json"]
    )


def test_figures_are_files_of_the_kinds_that_are_asked_for_and_verify_asks_for_the_same(
    folder: Path, tmp_path: Path
) -> None:
    shutil.copytree(folder, tmp_path / "suite", ignore=shutil.ignore_patterns("report"))
    command = ["report", str(tmp_path / "suite"), "--figures", "svg", "--figures", "pdf"]
    assert CliRunner().invoke(app, command).exit_code == 0
    stems = ("forest", "forest_narrow", "overview", "task_recall", "task_sorting")
    there = {path.name for path in (tmp_path / "suite" / "report" / "figures").iterdir()}
    assert there == {"forest.png", *(f"{stem}.{kind}" for stem in stems for kind in ("svg", "pdf"))}
    assert verify(tmp_path / "suite" / "report") == []
    assert CliRunner().invoke(app, command[:2]).exit_code == 0
    assert [path.name for path in (tmp_path / "suite" / "report" / "figures").iterdir()] == ["forest.png"]
    wrong = CliRunner().invoke(app, [*command[:-1], "bmp"])
    assert wrong.exit_code == 2
    assert "'bmp' is not one of" in wrong.output


def test_a_core_sized_suite_takes_seconds_and_a_megabyte(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite())
    start = time.process_time()
    page = write.write(load(tmp_path), tmp_path / "report")
    assert time.process_time() - start < 20
    assert sum(path.stat().st_size for path in page.parent.rglob("*")) < 1_000_000


def test_the_page_is_alone(page: Path) -> None:
    text, fonts = re.subn(r"url\(data:font/woff;base64,[\w+/=]+\)", "", page.read_text())
    assert (fonts, text.count('<svg role="img"')) == (2, 5)
    links = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"')\s>]+)""", text)
    assert links
    assert [link for link in links if not link.startswith(("tables/", "claims.json", "transcripts.html", "#"))] == []
    inner = {link[1:] for link in links if link.startswith("#")}
    assert inner <= set(re.findall(r' id="?([^">]+)', text))
    assert [link for link in links if not link.startswith("#") and not (page.parent / link).exists()] == []
    assert text.count("<script") == text.count("<script>") == 1
    assert "prefers-color-scheme: dark" in text


def test_every_caption_ends_with_the_reports_id(folder: Path, page: Path) -> None:
    name = write.report_id(load(folder))
    captions = re.findall(r"<figcaption>(.*)</figcaption>", page.read_text())
    assert len(captions) == 4
    assert all(caption.endswith(f"report {name}") for caption in captions)
    assert page.with_suffix(".md").read_text().count(f"report {name}\n") == 1


def test_the_citation_names_the_version_and_the_commit_of_the_runs(folder: Path, page: Path) -> None:
    for name in ("report.md", "report.html"):
        assert "note = {version 0.1.0, commit 01234567}" in (page.parent / name).read_text()
    results = load(folder)
    first, *_ = results.environments
    installed = results.environments[first] | {"package": {"version": "0.2.0", "commit": None, "dirty": None}}
    mixed = replace(results, environments={**results.environments, first: installed})
    assert "note = {version 0.1.0, 0.2.0, commit 01234567, unknown}" in write.citation(mixed, "x")
    assert "note = {version unknown, commit unknown}" in write.citation(replace(results, environments={}), "x")


@pytest.mark.parametrize("suite", ["attribution", "claims", "core", "memory", "peers"])
def test_published_reports_cite_what_their_environment_says(suite: str) -> None:
    folder = ROOT / "results" / "published" / suite
    rows = pd.read_csv(folder / "tables" / "environment.csv", index_col="field")["value"]
    said = {name: re.sub(r" \(\d+ runs\)", "", rows[f"package.{name}"]).split("; ") for name in ("version", "commit")}
    version, commit = (", ".join(value[:8].replace("None", "unknown") for value in values) for values in said.values())
    for name in ("report.md", "report.html"):
        assert f"note = {{version {version}, commit {commit}}}" in (folder / name).read_text()


def test_the_id_follows_the_runs(tmp_path: Path) -> None:
    suite = make_suite(**SMALL)
    cases: list[dict[str, Any]] = [{}, {}, {"missing": ["ppo.recall.s0"]}, {"failed": ["ppo.recall.s0"]}]
    ids = {write.report_id(load(write_results(tmp_path / str(i), suite, **case))) for i, case in enumerate(cases)}
    assert len(ids) == 3
    manifest = next((tmp_path / "0" / "runs").glob("ppo.recall.s0.*")) / "manifest.json"
    results = load(tmp_path / "0")
    before = write.report_id(results)
    results.hashes[manifest.parent.name]["metrics.jsonl"] = "f" * 64
    assert write.report_id(results) != before
    results.hashes[manifest.parent.name].clear()
    emptied = write.report_id(results)
    results.runs.loc[results.runs["key"] == manifest.parent.name, "status"] = "diverged"
    assert write.report_id(results) != emptied


def test_the_summary_is_means_spread_and_n(folder: Path) -> None:
    results = load(folder)
    table = terminal.summary(results).set_index(["task", "arm"]).to_dict("index")
    finals = results.score_matrix()["ppo"]["recall"]
    row = table["recall", "ppo"]
    assert row["n"] == "3"
    assert row["final mean"] == f"{finals.mean():.3f}"
    assert row["seed sd"] == f"{np.std(finals, ddof=1):.3f}"
    assert row["note"] == "-"
    assert float(row["peak memory MB"]) > 500
    assert float(row["s per 1,000 completions"]) > 4
    assert list(table) == [("sorting", "ppo"), ("sorting", "grpo"), ("recall", "ppo"), ("recall", "grpo")]


def test_three_seeds_get_no_verdict_and_are_told_why(page: Path) -> None:
    content = json.loads((page.parent / "claims.json").read_text())
    seen = {one["verdict"] for one in content["verdicts"] if one["metric"] != "peak memory"}  # which needs no test
    assert seen == {"no verdict"}
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "3 paired seeds, a verdict needs 8" in text
        assert not re.search(r"significan|outperform|confidence|(ppo|grpo) better", text)


def test_the_verdicts_lead_and_machines_can_read_them(tmp_path: Path) -> None:
    page = write.write(load(write_results(tmp_path, make_suite(**SMALL | {"seeds": 8}))), tmp_path / "report")
    content = json.loads((tmp_path / "report" / "claims.json").read_text())
    assert (content["report"], content["claims"]) == (write.report_id(load(tmp_path)), [])
    (final,) = [
        one for one in content["verdicts"] if (one["metric"], one["task"]) == ("final held-out pass rate", "all tasks")
    ]
    assert (final["n"], final["first"], final["second"]) == (8, "ppo", "grpo")
    whole, short = html.unescape(page.read_text()), page.with_suffix(".md").read_text()
    for text in (whole, short):
        assert answer(judge(load(tmp_path))) in text
        assert text.index("What it cost") < text.index("What was not tested") < text.index("Verdicts over all tasks")
    assert whole.count(final["sentence"]) == 1
    assert len(short.splitlines()) < 100


def test_the_difference_of_the_arms_comes_from_their_specs(tmp_path: Path) -> None:
    suite = make_suite(**SMALL, train_of={"grpo": {"learning_rate": 0.001}})
    differing, shared = tables.configuration(load(write_results(tmp_path, suite)))
    values = differing.set_index("setting")[["ppo", "grpo"]]
    assert list(values.loc["train.learning_rate"]) == [str(TrainConfig().learning_rate), "0.001"]
    assert list(values.loc["config.critic.kind"]) == ["head", "-"]
    assert "train.learning_rate" not in set(shared["setting"])
    assert shared.set_index("setting").at["train.beta", "value"] == "0.01"


def test_unmatched_budgets_are_labelled_everywhere(tmp_path: Path) -> None:
    suite = make_suite(**ONE, train_of={"grpo": {"completions": 768}})
    page = write.write(load(write_results(tmp_path, suite)), tmp_path / "report")
    says = "budgets unmatched: ppo 1,536, grpo 768 completions"
    assert terminal.summary(load(tmp_path))["note"].tolist() == [says] * 2
    assert page.read_text().count(f"<strong>unmatched</strong> · recall: {says}") == 1
    assert page.with_suffix(".md").read_text().count(f"**unmatched**, recall: {says}") == 1


ALL = [spec.key.rpartition(".")[0] for spec in make_specs(make_suite(**ONE))]
CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[str]]] = {
    "all failed": ({}, {"failed": ALL}, ["3 failed; time not measured; memory not measured"] * 2),
    "all diverged": ({}, {"diverged": ALL}, ["3 diverged"] * 2),
    "one failed": ({}, {"failed": ["ppo.recall.s0"]}, ["1 failed", "-"]),
    "one seed": ({"seeds": 1}, {}, ["one run: no spread"] * 2),
    "one arm": ({"arms": ("ppo",)}, {}, ["-"]),
    "no timing pass": ({"timing": False}, {}, ["time contended; memory contended"] * 2),
    "contended timing": ({}, {"contended_timing": True}, ["time contended; memory contended"] * 2),
    "no memory": ({}, {"memory": False}, ["-"] * 2),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_missing_is_a_dash_and_a_note(tmp_path: Path, case: str) -> None:
    shape, changes, notes = CASES[case]
    page = write.write(load(write_results(tmp_path, make_suite(**ONE | shape), **changes)), tmp_path / "report")
    assert terminal.summary(load(tmp_path))["note"].tolist() == notes
    for table in page.parent.glob("tables/*.csv"):
        cells = pd.read_csv(table, dtype=str, keep_default_na=False).to_numpy().ravel().tolist()
        assert {cell.lower() for cell in cells} & {"nan", "inf", "-inf", "<na>", ""} == set(), table.name
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert not re.search(r"(?<![\w/+])(nan|inf)(?![\w/+=])", text, re.IGNORECASE)


def test_costs_of_a_shared_machine_are_shown_with_a_star(tmp_path: Path) -> None:
    alone, shared = (write_results(tmp_path / str(c), make_suite(**ONE), contended_timing=c) for c in (False, True))
    for name in ("s per 1,000 completions", "peak memory MB"):
        plain, starred = (terminal.summary(load(folder))[name].tolist() for folder in (alone, shared))
        assert starred == [f"{text}*" for text in plain]
        assert "*" not in "".join(plain)
    assert outcomes.summary(load(shared))["seconds_per_1000"].isna().all()


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    results = load(write_results(tmp_path, make_suite(**SMALL | {"seeds": 1})))
    assert set(terminal.summary(results)["seed sd"]) == {"-"}


def test_runs_that_did_not_end_well_are_listed(tmp_path: Path) -> None:
    changes: dict[str, Any] = {
        "failed": ["ppo.recall.s0"],
        "diverged": ["grpo.recall.s1"],
        "unfinished": ["ppo.recall.s2"],
    }
    write_results(tmp_path, make_suite(**ONE), **changes)
    table = tables.unfinished(load(tmp_path))
    assert table[["arm", "seed", "state"]].to_numpy().tolist() == [
        ["ppo", 0, "failed"],
        ["ppo", 2, "unfinished"],
        ["grpo", 1, "diverged"],
    ]
    page = write.write(load(tmp_path), tmp_path / "report")
    for text in (page.read_text(), page.with_suffix(".md").read_text()):
        assert "MemoryError: killed by signal 9" in text
        assert "run the suite again: it goes on with what is missing" in text


def test_a_folder_that_cannot_be_written_is_named(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file.*: the report cannot be written there"):
        write.write(load(folder), tmp_path / "file")


def test_text_from_a_suite_is_not_markup(tmp_path: Path) -> None:
    suite = make_suite(**ONE).model_copy(update={"description": "<b>bold</b>"})
    page = write.write(load(write_results(tmp_path, suite)), tmp_path / "report")
    assert "&lt;b&gt;bold&lt;/b&gt;" in page.read_text()


@pytest.mark.parametrize(("rows", "there"), [(200, True), (201, False)])
def test_a_table_of_more_than_two_hundred_rows_is_in_its_csv_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int, there: bool
) -> None:
    monkeypatch.setitem(contents.ALWAYS, "final_scores", lambda _: pd.DataFrame({"seed": range(rows)}))
    monkeypatch.setattr(write, "drawings", lambda results: {"overview": contents.drawings(results)["overview"]})
    page = write.write(load(folder), tmp_path)
    (section,) = re.findall(r'<section id="final_scores">.*?</section>', page.read_text(), re.DOTALL)
    assert (f"<details><summary>{rows} rows</summary>" in section) == there
    assert (f"<p>{rows} rows, in the CSV alone.</p>" in section) != there
    assert len(pd.read_csv(tmp_path / "tables" / "final_scores.csv")) == rows
