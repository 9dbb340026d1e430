"""Results in wandb: what is logged, when, and how often."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fake_suite import FakeRun, make_suite
from fake_wandb import by_hand, put_fake, told, write_small
from ppo_vs_grpo.benchmarks import load
from ppo_vs_grpo.benchmarks.run.engines import local
from ppo_vs_grpo.benchmarks.tracking.beside import Mode, mirrored
from ppo_vs_grpo.benchmarks.tracking.course import Course


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeRun:
    monkeypatch.setattr(local, "POLL_S", 0.02)
    return FakeRun(tmp_path, suite=make_suite(tasks=("red",), seeds=1, timing=False))


def test_an_update_is_logged_once_its_evaluation_is_whole(tmp_path: Path) -> None:
    metrics, evals = tmp_path / "metrics.jsonl", tmp_path / "evals.jsonl"
    prompt = {"samples": 4, "reward_mean": 0.5, "greedy_pass": 1, "completion_tokens_mean": 8.0}

    def held_out(update: int, passes: list[int]) -> str:
        rows = [
            prompt | {"update": update, "completions": 8 * update, "prompt": i, "passes": p}
            for i, p in enumerate(passes)
        ]
        return "".join(json.dumps(row) + "\n" for row in rows)

    course = Course(tmp_path)
    assert course.read(ended=False) == []
    evals.write_text(held_out(0, [1])[:30])
    assert course.read(ended=False) == []
    evals.write_text(held_out(0, [1, 2]))
    metrics.write_text('{"update": 1, "completions": 8, "value_loss": null, "loss": 0.5}\n{"upd')
    start = {"update": 0, "completions": 0, "eval/pass_rate": 0.375, "eval/reward_mean": 0.5}
    assert course.read(ended=False) == [(0, start | {"eval/greedy_pass": 1.0, "eval/completion_tokens_mean": 8.0})]
    with metrics.open("a") as file:
        file.write('ate": 2, "completions": 16}\nnot json\n{"update": 3, "completions": 24}\n')
    assert course.read(ended=False) == [
        (1, {"update": 1, "completions": 8, "loss": 0.5}),
        (2, {"update": 2, "completions": 16}),
    ]
    with evals.open("a") as file:
        file.write(held_out(3, [4, 4]))
    ((update, moment),) = course.read(ended=True)
    assert (update, moment["eval/pass_rate"]) == (3, 1.0)
    assert [score["pass_rate"] for score in course.scores] == [0.375, 1.0]


def test_a_run_that_starts_anew_is_followed_from_where_it_was(tmp_path: Path) -> None:
    metrics, course = tmp_path / "metrics.jsonl", Course(tmp_path)
    rows = [json.dumps({"update": u, "completions": 8 * u}) + "\n" for u in range(1, 6)]
    metrics.write_text("".join(rows[:3]))
    assert [u for u, _ in course.read(ended=False)] == [1, 2]
    metrics.rename(tmp_path / "old")  # keeps its inode from being used again
    metrics.write_text("".join(rows[:4]))
    assert [u for u, _ in course.read(ended=False)] == [3]
    metrics.write_text("".join(rows[:2]))
    assert course.read(ended=False) == []
    metrics.write_text("".join(rows))
    assert [u for u, _ in course.read(ended=True)] == [4, 5]


def test_a_finished_folder_is_mirrored_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path, failed=["grpo.sorting.s0"])
    results = load(folder)
    ppo, grpo = results.runs["key"]
    for _ in range(2):
        assert by_hand(folder).stderr == ""
    inits, logs, ends = told(log, "init"), told(log, "log"), told(log, "summary")
    assert set(inits) == {ppo, grpo, "synthetic.report"}
    (((given,),), ((about,),)) = inits[ppo], inits["synthetic.report"]
    del given["pid"]
    assert given == {
        "project": "ppo-vs-grpo",
        "name": ppo,
        "group": "synthetic",
        "job_type": "ppo",
        "resume": "allow",
    } | {"config": json.loads((folder / "runs" / ppo / "spec.json").read_text())}
    assert (about["group"], about["job_type"]) == ("synthetic", "report")
    assert [step for step, _ in logs[ppo]] == [0, 1, 2, 3, 4, 5, 6]
    assert [row["completions"] for _, row in logs[ppo]] == [0, 128, 256, 384, 512, 640, 768]
    (((summary,),), ((failed,),)) = ends[ppo], ends[grpo]
    finals = results.finals.set_index("key").loc[ppo]
    for name in ("pass_rate", "greedy_pass", "reward_mean"):
        assert summary[f"final_{name}"] == pytest.approx(finals[f"final_{name}"], abs=1e-12)
    assert (failed["status"], "final_pass_rate" in failed) == ("failed", False)
    assert told(log, "finish") == {ppo: [[0]], grpo: [[1]], "synthetic.report": [[0]]}
    (((name, kind, files),),) = [told(log, "artifact")[ppo]]
    assert (name, kind) == (f"record-{ppo}", "run-record")
    assert set(files) >= {"manifest.json", "spec.json", "metrics.jsonl", "env.json"}
    assert told(log, "artifact")["synthetic.report"] == [["report-synthetic", "report", ["report.html"]]]
    ((_, figures),) = logs["synthetic.report"]
    assert figures == {"figures/overview": str(folder / "report" / "figures" / "overview.png")}


def test_what_changed_is_mirrored_again_and_so_is_the_other_mode(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, folder = put_fake(tmp_path, monkeypatch), write_small(tmp_path)
    by_hand(folder)
    log.unlink()
    manifest = next((folder / "runs").glob("ppo*/manifest.json"))
    manifest.write_text(manifest.read_text() + "\n")
    by_hand(folder)
    assert list(told(log, "init")) == [manifest.parent.name]
    log.unlink()
    by_hand(folder, "--mode", "online")
    assert len(told(log, "init")) == 3


def test_a_suite_is_followed_while_it_runs(fake: FakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = put_fake(tmp_path, monkeypatch)
    fake.seconds = 6.0
    with mirrored(fake.results, Mode.offline):
        assert fake.run() == 0
    ended_s = max(float((place / "manifest.json").stat().st_mtime) for place in (fake.results / "runs").iterdir())
    firsts = [row for row in map(json.loads, log.read_text().splitlines()) if row[2] == "log" and row[3] == 1]
    assert len(firsts) == 2
    assert all(row[0] < ended_s for row in firsts)
    assert {key: len(rows) for key, rows in told(log, "log").items()} == {row[1]: 3 for row in firsts}
    assert all(ends == [[0]] for ends in told(log, "finish").values())
