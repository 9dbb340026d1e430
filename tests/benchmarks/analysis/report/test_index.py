"""The page of all suites: the source's claims, and what each suite found of them, side by side."""

from __future__ import annotations

import html
import json
import re
import shutil
from pathlib import Path

import pytest

from ppo_vs_grpo.benchmarks.analysis.frames.load import load
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.index import claims_of, write_index
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from synthetic import make_suite, write_results

TUNED = {"trials": 24, "completions": 10, "train_s": 1.0, "sha256": "0" * 64}


def claim(says: str, measure: str, *arms: str) -> dict[str, object]:
    base = {"says": says, "here": f"It is so of {arms[-1]}.", "tasks": ["recall"], "side": "above", "than": 0}
    return base | {"measure": measure, "arms": list(arms), "margin": 0.01}


CLAIMS = {
    "lead": claim("GRPO <leads>.", "final_score", "ppo", "grpo"),
    "S6-learns": claim("It ranks.", "ranking_gain", "grpo"),
    "S6-more": claim("It ranks.", "ranking_gain", "ppo", "grpo"),
}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A suite with claims; the same one tuned, with one claim; the same one on another model; one without claims."""
    folder = tmp_path_factory.mktemp("results")
    base = make_suite(timing=False).model_dump()
    for name, more in {
        "plain": {"claims": CLAIMS},
        "better": {"claims": {"lead": CLAIMS["lead"]}, "tuned": TUNED},
        "real": {"claims": CLAIMS, "start": "smollm2"},
        "other": {},
    }.items():
        suite = Suite.model_validate(base | {"name": name, **more})
        write_results(folder / name, suite)
        with pytest.MonkeyPatch.context() as patch:  # figures take seconds
            patch.setattr("ppo_vs_grpo.benchmarks.analysis.report.write.drawings", lambda _: {})
            write.write(load(folder / name), folder / name / "report")
    return folder


def test_claims_stand_by_what_the_source_says_and_suites_by_model_and_settings(results: Path) -> None:
    columns, rows = claims_of(
        {path: path / "report/claims.json" for path in sorted(results.iterdir()) if path.is_dir()}
    )
    assert columns == {
        "plain": "shared settings, nano",
        "better": "tuned at equal budget, nano",
        "real": "shared settings, smollm2",
    }
    assert list(columns) == ["plain", "better", "real"]
    assert [(row.name, row.says, row.rows, sorted(row.found)) for row in rows] == [
        ("lead", "GRPO <leads>.", 1, ["better", "plain", "real"]),
        ("S6-learns", "It ranks.", 2, ["plain", "real"]),
        ("S6-more", "It ranks.", 0, ["plain", "real"]),
    ]
    (lead, learns, _) = rows
    verdict, number = lead.found["plain"]
    assert verdict in ("supported", "refuted", "inconclusive")
    assert re.fullmatch(r"[-\d.]+ \([-\d.]+ to [-\d.]+\)", number)
    assert learns.found["real"] == ("not tested", "")


def test_the_page_has_a_column_a_suite_and_shows_text_as_text(results: Path) -> None:
    text = write_index(results).read_text(encoding="utf-8")
    table = text.partition("<table")[2].partition("</table>")[0]
    assert "GRPO &lt;leads&gt;." in table
    heads = [html.unescape(head) for head in re.findall(r'<th scope="col">([^<]+?) ?<', table)]
    assert heads[2:] == ["shared settings, nano", "tuned at equal budget, nano", "shared settings, smollm2"]
    assert table.count("<td>-</td>") == 2  # of the tuned suite, which claims one thing
    assert text.count('<section class="suite">') == 4


def test_a_folder_whose_suites_claim_nothing_has_no_table(results: Path, tmp_path: Path) -> None:
    shutil.copytree(results / "other", tmp_path / "other")
    assert "<table" not in write_index(tmp_path).read_text(encoding="utf-8")


def test_a_claims_file_that_cannot_be_read_leaves_its_suite_out(results: Path, tmp_path: Path) -> None:
    for name in ("plain", "real"):
        shutil.copytree(results / name, tmp_path / name)
    path = tmp_path / "real/report/claims.json"
    whole = json.loads(path.read_text())
    odd = {**whole["claims"][0], "estimate": "much"}
    for text in ("[1", "[]", json.dumps({**whole, "claims": [odd]}), json.dumps({**whole, "claims": {"a": 1}})):
        path.write_text(text)
        files = {folder: folder / "report/claims.json" for folder in tmp_path.iterdir()}
        columns, _ = claims_of(files)
        assert list(columns) == ["plain"], text
