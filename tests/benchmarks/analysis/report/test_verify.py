"""`verify` names every number of a report that its runs do not say; `compare` sets two folders side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from damage import by_hand, rehash, run_folder
from handmade import made
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.analysis.report import write
from ppo_vs_grpo.benchmarks.analysis.report.compare import compare, differing
from ppo_vs_grpo.benchmarks.analysis.report.verify import Mismatch, verify
from ppo_vs_grpo.benchmarks.records.folder import fingerprint
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

SUITE = make_suite(tasks=("recall",), seeds=3, updates=8, prompts=16)


def curves(finals: list[float]) -> list[tuple[float, float]]:
    return [(0.2, final) for final in finals]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = write_results(tmp_path / "core", SUITE)
    write.write(load(written), written / "report")
    return written


def test_a_report_of_its_runs_has_no_difference_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    assert verify(folder / "report") == []
    assert verify(folder / "report" / "report.html") == []
    (folder / "report").rename(tmp_path / "elsewhere")
    assert verify(tmp_path / "elsewhere", folder) == []


def test_a_published_report_has_its_suite_beside_it(folder: Path) -> None:
    lock = folder / "report" / "suite.lock.yaml"
    lock.write_bytes((folder / "suite.lock.yaml").read_bytes())
    assert verify(folder / "report") == []
    lock.write_text(lock.read_text() + "# changed\n")
    assert [difference.where for difference in verify(folder / "report")] == ["suite.lock.yaml"]


def test_a_changed_cell_is_named(folder: Path) -> None:
    path = folder / "report" / "tables" / "summary.csv"
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    right, table.loc[1, "final"] = table.loc[1, "final"], "0.999"
    table.to_csv(path, index=False, lineterminator="\n")
    assert verify(folder / "report") == [Mismatch("tables/summary.csv, row 2, final", "0.999", right)]
    ran = CliRunner().invoke(app, ["verify", str(folder / "report")])
    assert ran.exit_code == 1
    assert f"tables/summary.csv, row 2, final: 0.999; the runs say {right}" in ran.output


def test_a_changed_page_a_missing_and_a_foreign_file_are_named(folder: Path) -> None:
    page, stray = folder / "report" / "report.html", folder / "report" / "tables" / "stray.csv"
    page.write_text(page.read_text().replace("0.", "1.", 1))
    (folder / "report" / "figures" / "forest.png").unlink()
    stray.write_text("a\n1\n")
    found = {difference.where: (difference.found, difference.expected) for difference in verify(folder / "report")}
    assert set(found) == {"report.html", "figures/forest.png", "tables/stray.csv"}
    assert found["figures/forest.png"] == ("missing", "there")
    assert found["tables/stray.csv"] == ("there", "missing")


def test_a_changed_run_is_named_first_with_its_fields_where_the_index_has_them(folder: Path) -> None:
    load(folder).runs.to_parquet(folder / "index.parquet", index=False)
    run = run_folder(folder, "grpo.recall.s1")
    by_hand(status="diverged", contended=False)(run)
    (run_folder(folder, "ppo.recall.s0") / "env.json").write_text("{}")
    found = verify(folder / "report")
    named = {one.where: (one.found, one.expected) for one in found[:4]}
    spoilt = run_folder(folder, "ppo.recall.s0").name
    assert list(named) == [
        spoilt,
        run.name,
        f"{run.name}/manifest.json, status",
        f"{run.name}/manifest.json, contended",
    ]
    assert named[f"{run.name}/manifest.json, status"] == ("diverged", "ok")
    assert named[f"{run.name}/manifest.json, contended"] == ("False", "True")
    assert named[run.name][0].startswith(f"runs/{run.name}/manifest.json: changed since the run ended: its seal is ")
    assert {one.where.partition(",")[0] for one in found[4:]} > {"tables/summary.csv", "tables/final_scores.csv"}


def test_saved_weights_that_changed_are_named_and_deleted_ones_are_not(folder: Path) -> None:
    run = run_folder(folder, "grpo.recall.s1")
    (run / "policy").mkdir()
    weights = run / "policy" / "model.safetensors"
    weights.write_bytes(b"weights")
    by_hand(weights={"policy/model.safetensors": fingerprint(weights)})(run)
    rehash(run)
    write.write(load(folder), folder / "report")
    assert verify(folder / "report") == []
    weights.write_bytes(b"Weights")
    assert verify(folder / "report") == [
        Mismatch(f"{run.name}/policy/model.safetensors", "other content", "what the run saved")
    ]
    weights.unlink()
    assert verify(folder / "report") == []


def test_a_shorter_table_is_named_cell_by_cell(folder: Path) -> None:
    path = folder / "report" / "tables" / "final_scores.csv"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-1]))
    found = verify(folder / "report")
    assert len(found) == len(lines[0].split(","))
    assert {difference.found for difference in found} == {"nothing"}
    assert found[0].where == f"tables/final_scores.csv, row {len(lines) - 1}, task"


def test_a_row_that_is_too_long_and_a_table_that_is_empty(folder: Path) -> None:
    tables = folder / "report" / "tables"
    lines = (tables / "summary.csv").read_text().splitlines(keepends=True)
    (tables / "summary.csv").write_text("".join([lines[0], lines[1].replace("\n", ",more\n"), *lines[2:]]))
    whole = (tables / "power.csv").read_text().splitlines()
    (tables / "power.csv").write_text("")
    wide = f"tables/summary.csv, row 1, {lines[0].count(',') + 2}"
    found = verify(folder / "report")
    assert [one for one in found if "summary" in one.where] == [Mismatch(wide, "more", "nothing")]
    assert len([one for one in found if "power" in one.where]) == sum(
        bool(cell) for line in whole for cell in line.split(",")
    )
    (tables / "summary.csv").write_text("".join(lines))
    (tables / "power.csv").write_text("\n".join(whole) + "\n")
    assert verify(folder / "report") == []


def test_a_table_of_the_same_cells_in_other_bytes_is_named(folder: Path) -> None:
    path = folder / "report" / "tables" / "summary.csv"
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    (found,) = verify(folder / "report")
    assert (found.where, found.found) == ("tables/summary.csv", "other content")


def test_no_report_is_one_message(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no report\.html there"):
        verify(tmp_path)
    with pytest.raises(UserError, match=r"no suite\.lock\.yaml"):
        verify(folder / "report", tmp_path)


def test_two_folders_side_by_side(tmp_path: Path) -> None:
    one, other = (load(write_results(tmp_path / name, SUITE)) for name in "ab")
    same = compare(one, other)
    assert set(same["b_less_a"].dropna()) == {0.0}
    assert list(same["measure"].unique()) == ["start", "final", "s per 1,000", "peak MB"]
    assert differing(one, other).empty
    scores = one.evals["passes"].where(one.evals["seed"] != 2, 0)
    lower = type(one)(**{**{f: getattr(one, f) for f in one.__dataclass_fields__},
                         "evals": one.evals.assign(passes=scores)})  # fmt: skip
    table = compare(lower, one).set_index(["arm", "measure"])
    seeds = one.score_matrix()["ppo"]["recall"]
    assert table.loc[("ppo", "final"), "b_less_a"] == pytest.approx(seeds[2] / 3)
    assert table.loc[("ppo", "final"), "paired_se"] == pytest.approx(seeds[2] / 3)  # differences 0, 0, x
    assert table.loc[("ppo", "final"), "seeds"] == 3
    assert pd.isna(table.loc[("ppo", "peak MB"), "paired_se"])


def test_a_comparison_by_hand() -> None:
    """The pairs of ppo differ by 0.1, 0 and 0.1: sd 0.1 / sqrt(3). There is one pair of rloo's, and no grpo in b."""
    ran = made({arm: {"a": curves([0.5, 0.6, 0.7, 0.8])} for arm in ("ppo", "grpo", "rloo")})
    again = made({"rloo": {"a": curves([0.6])}, "ppo": {"a": [*curves([0.6, 0.6]), None, *curves([0.9])]}})
    one, other = (
        replace(
            each,
            specs={key: spec | {"purpose": "train", "arm": key.partition(".")[0], "task": "a"} for key, spec in specs},
        )
        for each, specs in ((each, each.specs.items()) for each in (ran, again))
    )
    table = compare(one, other).set_index(["arm", "measure"])
    assert list(table.index.unique("arm")) == ["ppo", "rloo"]
    row = table.loc[("ppo", "final")]
    assert (row["a"], row["b"], row["b_less_a"], row["seeds"]) == pytest.approx((0.65, 0.7, 0.05, 3))
    assert row["paired_se"] == pytest.approx(0.1 / 3)
    assert pd.isna(table.loc[("ppo", "start"), "paired_se"])
    assert (table.loc[("rloo", "final"), "seeds"], table.loc[("rloo", "final"), "b_less_a"]) == (
        1,
        pytest.approx(-0.05),
    )
    assert pd.isna(table.loc[("rloo", "final"), "paired_se"])


def test_what_differs_between_two_folders_is_listed(tmp_path: Path) -> None:
    one = load(write_results(tmp_path / "a", SUITE))
    folder = write_results(tmp_path / "b", SUITE.model_copy(update={"start": "tiny"}))
    for path in folder.rglob("env.json"):
        env = json.loads(path.read_text())
        path.write_text(json.dumps(env | {"threads": 7, "packages": env["packages"] | {"peft": "1.0"}}))
        rehash(path.parent)
    table = differing(one, load(folder)).set_index("field")
    assert table.loc["start (all)"].tolist() == ["nano", "tiny"]
    assert table.loc["threads"].tolist() == ["1", "7"]
    back = differing(load(folder), one).set_index("field")
    assert (table.loc["packages.peft"].tolist(), back.loc["packages.peft"].tolist()) == (["-", "1.0"], ["1.0", "-"])
    ran = CliRunner().invoke(app, ["compare", str(tmp_path / "a"), str(folder)])
    assert ran.exit_code == 0
    assert "threads" in ran.output
    other = load(write_results(tmp_path / "c", make_suite(arms=("grpo",), tasks=("sorting",), seeds=2, updates=8)))
    with pytest.raises(UserError, match="no task and arm in common"):
        compare(one, other)
