"""Reports of parts of a suite, beside its own, and folders that have nothing to report."""

from __future__ import annotations

import json
import os
import re
import shutil
import webbrowser
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from checkout import ROOT
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    suite = make_suite(arms=("ppo", "grpo", "rloo"), tasks=("recall",), seeds=3, updates=4, prompts=8)
    return write_results(tmp_path_factory.mktemp("results") / "mine", suite)


def ran(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


def test_a_report_of_a_part_lies_beside_says_what_it_is_and_is_verified(folder: Path) -> None:
    made = ran("report", str(folder), "--arms", "rloo,ppo", "--without-seed", "1")
    assert made.exit_code == 0, made.exception
    assert not (folder / "report").exists()
    report = folder / "report-rloo-ppo-without-1"
    assert "A part of the suite: arms rloo, ppo; without seeds 1." in (report / "report.html").read_text()
    (verdict, *_) = json.loads((report / "claims.json").read_text())["verdicts"]
    assert (verdict["first"], verdict["second"], verdict["n"]) == ("rloo", "ppo", 2)
    assert ran("verify", str(report)).exit_code == 0


def test_an_arm_that_is_none_is_a_mistake(folder: Path) -> None:
    error = ran("report", str(folder), "--arms", "ppo,rlo").exception
    assert isinstance(error, UserError)
    assert "no arm 'rlo'; did you mean 'rloo'?" in str(error)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("command", ["report", "compare"])
def test_a_folder_without_runs_is_a_mistake_and_stays_as_it_is(
    command: str, published: bool, folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "core"
    bare.mkdir()
    (bare / "suite.lock.yaml").write_text((folder / "suite.lock.yaml").read_text())
    if published:
        (bare / "report.html").touch()
    before = sorted(bare.iterdir())
    error = ran(command, *[str(bare)] * (2 if command == "compare" else 1)).exception
    assert isinstance(error, UserError)
    assert str(error).startswith(f"{bare}: none of the 15 runs that suite.lock.yaml names is finished there; ")
    assert ("a published report lies there without its runs" in str(error)) == published
    assert sorted(bare.iterdir()) == before


def test_a_comparison_of_what_was_made_alike_says_so(folder: Path) -> None:
    compared = ran("compare", str(folder), str(folder))
    assert "Both were made alike: no setting, version or machine differs." in compared.output
    assert compared.output.splitlines()[1].split()[-1] == "3"  # seeds, as a whole number


def test_a_page_lists_all_suites_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Published reports, which have no runs, in a folder with one of a suite here, of which a part was reported too."""
    published = {folder.name: folder for folder in (ROOT / "results" / "published").iterdir() if folder.is_dir()}
    for name in ("core", "claims"):
        (tmp_path / name).symlink_to(published[name])
    here = tmp_path / "here" / "report"
    shutil.copytree(published["core"], here, ignore=shutil.ignore_patterns("figures"))
    (here / "suite.lock.yaml").rename(tmp_path / "here" / "suite.lock.yaml")
    content = json.loads((here / "claims.json").read_text())
    (here / "claims.json").write_text(json.dumps(content | {"answer": "grpo ends higher."}))
    os.utime(here / "report.html", (4e9, 4e9))
    (tmp_path / "here" / "report-grpo-ppo").mkdir()
    (tmp_path / "here" / "report-grpo-ppo" / "report.html").touch()
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", opened.append)
    index = tmp_path / "index.html"
    assert ran("view", str(tmp_path)).output == f"{index}\n"
    assert opened == [index.as_uri()]
    text = index.read_text()
    links = re.findall(r'href="([^"]+)"', text)
    assert links[:2] == ["here/report/report.html", "here/report-grpo-ppo/report.html"]
    assert sorted(links[2:]) == ["claims/report.html", "core/report.html"]
    assert text.count("64 of 64 training runs") == 2
    assert text.count("304 of 304 training runs") == 1
    assert "ppo, grpo on countdown, sorting, recall, arithmetic" in text
    assert text.count("Final held-out pass rate over all tasks (share): ppo 0.") == 2
    assert text.count("grpo ends higher.") == 1
    assert ran("view", str(tmp_path / "here"), "--no-open").output == f"{here / 'report.html'}\n"
    assert len(opened) == 1


def test_a_folder_without_a_report_says_what_to_run(tmp_path: Path) -> None:
    error = ran("view", str(tmp_path)).exception
    assert isinstance(error, UserError)
    assert str(error).endswith("no suite has a report there; `ppo-vs-grpo run smoke` makes one in a minute or two")
    assert not list(tmp_path.iterdir())


def test_publishing_says_how_large_the_records_are_and_writes_nothing_of_nothing(folder: Path, tmp_path: Path) -> None:
    records = tmp_path / "out" / "records"
    said = ran("publish", str(folder), str(tmp_path / "out")).output
    assert said == f"{records}: {sum(path.stat().st_size for path in records.iterdir()) / 1e6:.1f} MB\n"
    assert load(tmp_path / "out").seeds == load(folder).seeds
    error = ran("publish", str(tmp_path / "none"), str(tmp_path / "other")).exception
    assert isinstance(error, UserError)
    assert "no suite.lock.yaml" in str(error)
    assert not (tmp_path / "other").exists()
