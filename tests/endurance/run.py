"""Is a long run flat? Memory, open files and seconds an update over thousands of updates of one training run.

    make endurance                 5,000 updates of nano, some minutes
    make endurance UPDATES=20000

The learning rate is next to nothing, so that completions stay as long as they are: what grows then is a leak.
Exit code 1 where memory grows by 1 MB per 1,000 updates, a file stays open, or an update takes 5% longer.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

SUITE = """
name: long
start: nano
tasks: [recall]
arms: [{arm}]
seeds: 1
train: {{completions: {completions}, prompts_per_update: 4, group_size: 4, learning_rate: 1.0e-7}}
eval: {{prompts: 16, points: 6}}
checkpoint: {{minutes: 1}}
"""
BATCH = 16
WARM = 0.2
"""The share of the updates that is not judged: allocators and caches fill."""

GROWTH_MB, SLOWER = 1.0, 0.05
PHASES = ("rollout_s", "reward_s", "reference_s", "value_s", "update_s")


def main(updates: int) -> int:
    """Print a row an arm; 1 where one is beyond a bound."""
    columns = (
        "arm",
        "updates",
        "MB",
        "MB per 1,000 updates",
        "open files, least and most",
        "ms an update, early, late",
    )
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}", flush=True)
    return max(judged(arm, updates) for arm in ("ppo", "grpo"))


def judged(arm: str, updates: int) -> int:
    """Run one arm and print its row; 1 where it is beyond a bound."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "long.yaml").write_text(SUITE.format(arm=arm, completions=BATCH * updates))
        samples = watched(folder)
        rows = [json.loads(line) for line in next(folder.glob("results/long/runs/*/metrics.jsonl")).open()]
    at, megabytes, files = (np.array(column, dtype=float) for column in zip(*samples, strict=True))
    judged_S = (at > WARM * updates) & (at < updates)  # after the last, tables are written
    slope = 1000 * np.polyfit(at[judged_S], megabytes[judged_S], 1)[0]
    seconds_U = np.array([sum(row[name] or 0.0 for name in PHASES) for row in rows])
    tenth = updates // 10
    early_ms, late_ms = (1000 * np.median(part) for part in (seconds_U[2 * tenth : 3 * tenth], seconds_U[-tenth:]))
    least, most = files[judged_S].min(), files[judged_S].max()
    print(
        f"| {arm} | {len(rows)} | {megabytes[judged_S][-1]:.0f} | {slope:.2f} | {least:.0f}, {most:.0f} | "
        f"{early_ms:.1f}, {late_ms:.1f} |",
        flush=True,
    )
    ends = np.median(files[judged_S][-10:]) > np.median(files[judged_S][:10])
    return int(len(rows) < updates or slope >= GROWTH_MB or ends or late_ms > (1 + SLOWER) * early_ms)


def watched(folder: Path) -> list[tuple[int, float, int]]:
    """Run the suite; of each second the training process's updates, resident MB and open files."""
    command = [sys.executable, "-P", "-m", "ppo_vs_grpo.benchmarks", "run", "long.yaml", "--slots", "1"]
    command += ["--set", "timing=null"]
    samples = []
    with (folder / "log").open("w") as log:
        runner = psutil.Popen(command, cwd=folder, stdout=log, stderr=log)
        while runner.poll() is None:
            time.sleep(1)
            try:
                (worker,) = [run for server in runner.children() for run in server.children()]
                (lines,) = folder.glob("results/long/runs/*/metrics.jsonl")
                update = json.loads(lines.read_bytes()[-4000:].splitlines()[-1])["update"]
                samples.append((update, worker.memory_info().rss / 1e6, worker.num_fds()))
            except (ValueError, psutil.NoSuchProcess):  # before the run, after it, or in the middle of a line
                continue
    if runner.returncode:
        raise SystemExit((folder / "log").read_text())
    return samples


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if sys.argv[1:] else 5000))
