"""Results that are damaged or say little: the report is still made, names what is missing, and judges nothing there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from damage import edit_manifest, rehash, run_folder
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.analysis.judge.verdicts import judge
from ppo_vs_grpo.tasks.errors import UserError
from synthetic import make_suite, write_results

SHAPE: dict[str, Any] = {"tasks": ("recall",), "seeds": 8, "updates": 8, "prompts": 8}


def delete_metrics(run: Path) -> None:
    for kind in ("parquet", "jsonl"):
        (run / f"metrics.{kind}").unlink(missing_ok=True)


def change_evals(run: Path) -> None:
    path = next(run.glob("evals.*"))
    path.write_bytes(path.read_bytes() + b"\n")


def older_protocol(run: Path) -> None:
    edit_manifest(run, protocol=0)


def nan_rewards(run: Path) -> None:
    (run / "metrics.parquet").unlink(missing_ok=True)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines[2]["reward_mean"] = float("nan")
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    rehash(run)


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "deleted metrics": (delete_metrics, "missing, but manifest.json names it"),
    "changed evals": (change_evals, "changed since the run ended"),
    "older protocol": (older_protocol, "protocol version 0, others have 1"),
    "NaN rewards": (nan_rewards, "'reward_mean' is nan; expected a finite number or null"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_run_is_left_out_by_name_and_takes_the_verdict_with_it(tmp_path: Path, damage: str) -> None:
    spoil, says = DAMAGE[damage]
    write_results(tmp_path, make_suite(**SHAPE))
    run = run_folder(tmp_path, "grpo.recall.s3")
    spoil(run)
    with pytest.raises(UserError):
        load(tmp_path)
    ended = CliRunner().invoke(app, ["report", str(tmp_path)])
    assert ended.exit_code == 1
    assert says in ended.stderr.replace("\n", " ")
    results = load(tmp_path, strict=False)
    (row,) = results.missing.to_dict("records")
    assert (row["arm"], row["seed"], row["state"]) == ("grpo", 3, "unreadable")
    assert says in row["message"]
    assert str(tmp_path) not in row["message"]
    final = judge(results)[0]
    assert (final.n, final.verdict) == (7, "no verdict")
    assert "no final score of grpo seed 3" in final.reason
    for page in ("report.html", "report.md"):
        text = (tmp_path / "report" / page).read_text()
        assert "unreadable" in text
        assert says in text.replace("&#39;", "'")


def test_whole_results_leave_nothing_out(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SHAPE | {"seeds": 2}))
    assert CliRunner().invoke(app, ["report", str(tmp_path)]).exit_code == 0
    assert load(tmp_path, strict=False).missing.empty


def test_of_two_protocols_the_newer_one_is_read(tmp_path: Path) -> None:
    write_results(tmp_path, make_suite(**SHAPE | {"seeds": 2}))
    edit_manifest(run_folder(tmp_path, "grpo.recall.s1"), protocol=2)
    results = load(tmp_path, strict=False)
    assert results.runs["key"].str.startswith("grpo.recall.s1").tolist() == [True]
    assert set(results.missing["state"]) == {"unreadable"}
