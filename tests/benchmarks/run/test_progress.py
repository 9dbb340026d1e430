"""The progress table and its plain lines, and how a run reads a growing metrics file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from fake_suite import make_specs, make_suite
from ppo_vs_grpo.benchmarks.run.engines.job import Job
from ppo_vs_grpo.benchmarks.run.progress import Board, Steps, clock
from ppo_vs_grpo.benchmarks.run.state import RunState, State, left_s

CORE = ("countdown", "sorting", "recall", "arithmetic")


def make_runs(folder: Path, seeds: int = 8, tasks: Sequence[str] = CORE) -> list[RunState]:
    """A suite half-way: ended, running and waiting runs."""
    runs = [RunState(spec, folder / spec.key) for spec in make_specs(make_suite(tasks, seeds))]
    states: list[State] = ["ok", "ok", "failed", "diverged", "running", "running", "running"]
    for run, state in zip(runs, states, strict=False):
        run.start()
        run.last, run.reward, run.elapsed_s = {"update": 2 if state == "running" else 3}, 0.25, 60.0
        if state != "running":
            run.end(state, "out of [luck]" if state == "failed" else None)
    return runs


def screen(runs: Sequence[RunState], width: int, height: int | None = None) -> list[str]:
    console = Console(file=StringIO(), width=width, force_terminal=True, color_system=None, legacy_windows=False)
    board = Board(console, "core", runs, slots=2)
    with console.capture() as capture:
        console.print(board.render(height))
    return capture.get().splitlines()


def test_each_step_that_a_start_model_tells_of_is_said_once(tmp_path: Path) -> None:
    output = StringIO()
    board = Board(Console(file=output, width=80), "core", [], slots=1)
    red, blue = (Job(tmp_path / f"{name}.log", 1, lambda: (), lambda code: None) for name in ("red", "blue"))
    steps = Steps([red, blue], board)
    steps.tell()
    red.log.write_text("a warning\nstep 100 of 400\n")
    steps.tell()
    steps.tell()
    red.log.write_text("a warning\nstep 100 of 400\nstep 200 of 400\n")
    blue.log.write_text("step 100 of 400\nanother\n")
    steps.tell()
    said = [f"start model for {name}: step {step} of 400" for name, step in (("red", 100), ("red", 200), ("blue", 100))]
    assert output.getvalue().splitlines() == said


def test_an_error_acts_on_no_terminal(tmp_path: Path) -> None:
    output = StringIO()
    runs = make_runs(tmp_path, 1)
    runs[2].error = "RuntimeError: \x1b[31m\u202ered"
    board = Board(Console(file=output, width=80), "core", runs, slots=1)
    board.ended(runs[2])
    board.conclude()
    assert output.getvalue().count("RuntimeError: ⟨U+001B⟩[31m⟨U+202E⟩red") == 2


@pytest.mark.parametrize("width", [80, 120])
@pytest.mark.parametrize("seeds", [2, 8, 40])
def test_the_table_fits_the_terminal_and_has_each_run(tmp_path: Path, width: int, seeds: int) -> None:
    runs = make_runs(tmp_path, seeds)
    lines = screen(runs, width)
    assert max(map(len, lines)) <= width
    assert not any("…" in line for line in lines)
    table = "\n".join(line for line in lines if "left" not in line and "number:" not in line)
    signs = {"ok": "✓", "failed": "✗", "diverged": "!", "running": "▸", "waiting": "·"}
    assert {state: table.count(sign) for state, sign in signs.items()} == {
        state: sum(run.state == state for run in runs) for state in signs
    }


def test_the_table_shows_reward_and_time_left(tmp_path: Path) -> None:
    lines = screen(make_runs(tmp_path), 80)
    assert "4/80 runs · 1 failed" in lines[0]
    assert any("✓0.25" in line for line in lines)
    assert "seed7" in lines[5]  # below the three running runs
    assert "time1" in lines[5]
    assert any(
        "recall ppo s0" in line and "2/3" in line and "reward 0.25" in line and "0:30 left" in line for line in lines
    )


def test_the_arms_held_out_means_and_their_paired_difference_are_shown(tmp_path: Path) -> None:
    """grpo is 0.25 ahead at the one evaluation that both have of seed 0, and 0.5 at the last of seed 1."""
    runs = make_runs(tmp_path, seeds=3, tasks=["red"])
    passes = {("ppo", 0): (1, 2), ("grpo", 0): (2,), ("ppo", 1): (0, 1), ("grpo", 1): (0, 3), ("ppo", 2): (4,)}
    for run in runs:
        run.folder.mkdir(exist_ok=True)
        with (run.folder / "evals.jsonl").open("w") as file:
            for number, passed in enumerate(passes.get((run.spec.arm, run.spec.seed), ())):
                for share in (passed, passed):  # of two prompts
                    row = {"completions": 8 * number, "prompt": 0, "samples": 4, "passes": share}
                    file.write(json.dumps(row) + "\n")
        if run.spec.purpose == "train":
            run.follow()
    assert "red held-out ppo 0.583, grpo 0.625 (+0.375 to ppo, 2 seeds)" in [line.strip() for line in screen(runs, 80)]


@pytest.mark.parametrize("height", [14, 24])
def test_what_does_not_fit_a_terminal_is_counted_and_running_runs_come_first(tmp_path: Path, height: int) -> None:
    runs = make_runs(tmp_path, tasks=[f"task{number}" for number in range(12)])
    for run in runs:
        run.state = "waiting"
    running = [run for run in runs if run.spec.task == "task9"][:2]
    for run in running:
        run.start()
    lines = screen(runs, 100, height)
    assert len(lines) <= height
    assert [line.split()[:3] for line in lines[2:4]] == [["task9", run.spec.arm, "s0"] for run in running]
    assert lines[5].startswith("task9 ppo")
    (counted,) = (line for line in lines if line.startswith("and "))
    rows = sum(line.split()[0].startswith("task") or line.startswith("      ") for line in lines[5:])
    assert counted.strip() == f"and {24 - rows} rows more"
    assert "rows more" not in "".join(screen(runs, 100))


def test_more_running_runs_than_lines_are_counted(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    for run in runs[:20]:
        run.start()
    assert any("and 14 more" in line for line in screen(runs, 80))


def test_a_growing_file_is_read_line_by_line(tmp_path: Path) -> None:
    (run, *_) = make_runs(tmp_path)
    run.reward, run.last = None, {}
    run.folder.mkdir()
    run.follow()
    assert run.updates == 0
    path = run.folder / "metrics.jsonl"
    first, second = (json.dumps({"update": n, "reward_mean": float(n)}) for n in (1, 2))
    path.write_text(first + "\n" + second[:5])
    run.follow()
    assert run.updates == 1
    assert run.reward == 1.0
    path.write_text(first + "\n" + second + "\nnot json\n")
    run.follow()
    assert run.updates == 2
    assert run.reward == pytest.approx(0.8 * 1 + 0.2 * 2)
    run.follow()
    assert run.reward == pytest.approx(1.2), "old lines were read again"


def test_time_left_shares_training_among_slots_and_takes_timing_one_by_one(tmp_path: Path) -> None:
    runs = make_runs(tmp_path, seeds=1, tasks=["red"])
    ppo, grpo, *timing = runs
    assert len(timing) == 4
    for run in runs:
        run.state, run.last, run.elapsed_s = "waiting", {}, 0.0
    assert left_s(runs, 2) is None
    ppo.state, ppo.last, ppo.elapsed_s = "ok", {"update": 3}, 30.0
    assert left_s(runs, 1) == pytest.approx(3 * 10 + 4 * 3 * 10)
    assert left_s(runs, 2) == pytest.approx(3 * 10 / 2 + 4 * 3 * 10)
    grpo.state, grpo.last, grpo.elapsed_s = "running", {"update": 1}, 2.0
    assert left_s(runs, 2) == pytest.approx(2 * 2 / 2 + 2 * 3 * 2 + 2 * 3 * 10)


def test_without_a_terminal_each_end_is_one_plain_line(tmp_path: Path) -> None:
    runs = make_runs(tmp_path)
    written = StringIO()
    board = Board(Console(file=written, width=80), "core", runs, slots=2)
    with board:
        board.say("training")
        board.ended(runs[0])
        board.refresh()
    board.conclude()
    first, second, third, *rest = written.getvalue().splitlines()
    assert first == "core: 80 runs, 4 of them finished before"
    assert second == "training"
    assert third.startswith("[4/80] countdown ppo s0: ok, reward 0.25, 1:00, about ")
    assert rest[0] == f"✗ sorting ppo s0: out of [luck] ({runs[2].folder})"
    assert "\x1b" not in written.getvalue()


@pytest.mark.parametrize(("seconds", "text"), [(None, "?"), (0, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_clock(seconds: float | None, text: str) -> None:
    assert clock(seconds) == text
