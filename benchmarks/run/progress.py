"""The live board of a running suite: a table on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ppo_vs_grpo.benchmarks.records.visible import shown
from ppo_vs_grpo.benchmarks.run.attempts import Retry
from ppo_vs_grpo.benchmarks.run.engines.job import Job
from ppo_vs_grpo.benchmarks.run.state import RunState, State, left_s

REFRESH_S = 1.0
"""Seconds between two looks at the metrics files: a look takes time from the runs."""

RUNNING_LINES = 6

SIGNS: dict[State, tuple[str, str]] = {
    "waiting": ("·", "dim"),
    "running": ("▸", "cyan"),
    "ok": ("✓", "green"),
    "diverged": ("!", "yellow"),
    "failed": ("✗", "bold red"),
}


def clock(seconds: float | None) -> str:
    """Seconds as m:ss or h:mm:ss."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"


Row = tuple[str, str, list[RunState]]
"""A row of the table: a task, an arm, and their runs."""


def _each_task_once(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows, with an empty text for a task that the row above has too."""
    for above, (task, arm, runs) in zip(("", *(row[0] for row in rows)), rows, strict=False):
        yield "" if task == above else task, arm, runs


def _mean_and_lead(arm: str, runs: Sequence[RunState], first: str, firsts: Sequence[RunState]) -> str:
    """An arm's mean pass rate, and how far it is above the first arm's: by seed, at the newest common evaluation."""
    newest = [list(run.pass_rates.values())[-1] for run in runs]
    mean = f"{arm} {sum(newest) / len(newest):.3f}"
    seeds = {run.spec.seed: run.pass_rates for run in firsts}
    leads = [
        run.pass_rates[max(common)] - seeds[run.spec.seed][max(common)]
        for run in runs
        if (common := run.pass_rates.keys() & seeds.get(run.spec.seed, {}).keys())
    ]
    if arm == first or not leads:
        return mean
    return f"{mean} ({sum(leads) / len(leads):+.3f} to {first}, {len(leads)} seed{'s' * (len(leads) != 1)})"


class Steps:
    """How far the start models are that are being built: each job's log ends with the last step that it told of."""

    def __init__(self, jobs: Sequence[Job], board: Board) -> None:
        self._told = {job.log: "" for job in jobs}
        self._board = board

    def tell(self) -> None:
        """Say what is new in the logs, and draw anew."""
        for log, told in self._told.items():
            lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
            steps = [line for line in lines if line.startswith("step ")]
            if steps and steps[-1] != told:
                self._told[log] = steps[-1]
                self._board.say(f"start model for {log.stem}: {steps[-1]}")
        self._board.refresh()


class Board:
    """Shows the runs of a suite. A context: the terminal is restored when it ends, however it ends."""

    def __init__(
        self, console: Console, suite: str, runs: Sequence[RunState], slots: int, retry: Retry = Retry.failed
    ) -> None:
        """Take the suite's name and runs; `slots` is how many runs share the machine in training.

        `retry` says which runs the same command begins again.
        """
        self.retry = retry
        self.console, self.suite, self.runs, self.slots = console, suite, runs, slots
        self.interrupted = False
        self._already = sum(run.done for run in runs)
        self._status = ""
        self._started_s = self._shown_s = time.monotonic()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Board:
        """Start the live table; without a terminal, say how much there is to do."""
        if self._live:
            self._live.start()
        else:
            self._print(f"{self.suite}: {len(self.runs)} runs, {self._already} of them finished before")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the table on the terminal."""
        if self._live:
            self._live.update(self.render(), refresh=True)  # whole: what does not fit has scrolled away
            self._live.stop()

    def say(self, text: str) -> None:
        """Tell what begins now."""
        self._status = text
        if not self._live:
            self._print(text)

    def ended(self, run: RunState) -> None:
        """Tell that a run ended; the live table shows it by itself."""
        if not self._live:
            done = sum(c.done for c in self.runs)
            reward = "" if run.reward is None else f", reward {run.reward:.2f}"
            error = f": {run.error}" if run.error else ""
            counter = f"[{done}/{len(self.runs)}]"
            self._print(f"{counter} {run.name}: {run.state}{reward}, {clock(run.elapsed_s)}, {self._ahead()}{error}")

    def refresh(self) -> None:
        """Look at the running runs' files and draw anew, if the last time is long enough ago."""
        if time.monotonic() - self._shown_s < REFRESH_S:
            return
        self._shown_s = time.monotonic()
        for run in self.runs:
            if run.state == "running":
                run.follow()
        if self._live:
            self._live.update(self.render(self.console.height), refresh=True)

    def conclude(self) -> None:
        """After the last run: what failed and why, or how to go on."""
        failed = [run for run in self.runs if run.state == "failed"]
        for run in failed:
            self._print(f"✗ {run.name}: {run.error} ({run.folder})", style="red")
        if failed:
            again = "with --retry failed the" if self.retry is Retry.none else "the same"
            self._print(f"{len(failed)} of {len(self.runs)} runs failed; {again} command runs them again.")
        if self.interrupted:
            done = sum(run.state in ("ok", "diverged") for run in self.runs)
            self._print(
                f"Interrupted with {done} of {len(self.runs)} runs finished; the same command goes on from there."
            )

    def render(self, height: int | None = None) -> RenderableType:
        """The state of the whole, the running runs, what was evaluated, and the table: all of it, or what fits.

        What is too high for `height` lines begins with the rows of running runs, and counts the rows left out.
        """
        rows = list(self._rows())
        above: list[RenderableType] = [self._head(), self._running()]
        above += self._fitting(self._evaluated, rows, None if height is None else height // 3)
        room = None if height is None else height - self._lines(Group(*above)) - 1  # the legend
        return Group(*above, *self._fitting(self._table, rows, room), self._legend())

    def _fitting(
        self, make: Callable[[Sequence[Row]], Table], rows: list[Row], room: int | None
    ) -> list[RenderableType]:
        if room is None or self._lines(make(rows)) <= room:
            return [make(rows)]
        rows = sorted(rows, key=lambda row: not any(run.state == "running" for run in row[2]))
        shown = len(rows) - 1
        while shown > 1 and self._lines(make(rows[:shown])) >= room:  # one line counts
            shown -= 1
        return [make(rows[:shown]), Text(f"and {len(rows) - shown} rows more", "dim")]

    def _lines(self, part: RenderableType) -> int:
        return len(self.console.render_lines(part, self.console.options.update(height=None)))

    def _table(self, rows: Sequence[Row]) -> Table:
        grid = self._grid(rows)
        width = Measurement.get(self.console, self.console.options.update(width=10_000), grid).maximum
        return grid if width <= self.console.width else self._strips(rows)

    def _head(self) -> Text:
        done, failed = (sum(test) for test in ((c.done for c in self.runs), (c.state == "failed" for c in self.runs)))
        parts = [f"{done}/{len(self.runs)} runs", *[f"{failed} failed"] * bool(failed)]
        parts += [f"{clock(time.monotonic() - self._started_s)} elapsed", self._ahead()]
        return Text.assemble((self.suite, "bold"), "  ", " · ".join(parts), "\n", (self._status, "dim"))

    def _ahead(self) -> str:
        left = left_s(self.runs, self.slots)
        return "time left not known yet" if left is None else f"about {clock(left)} left"

    def _rows(self) -> Iterator[Row]:
        rows: dict[tuple[str, str], list[RunState]] = {}
        for run in self.runs:
            rows.setdefault((run.spec.task, run.spec.arm), []).append(run)
        for task in dict.fromkeys(task for task, _ in rows):
            yield from ((task, arm, runs) for (label, arm), runs in rows.items() if label == task)

    def _evaluated(self, rows: Sequence[Row]) -> Table:
        """A line a task: the arms' means of the newest held-out pass rates, and how far each is above the first."""
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        by_task: dict[str, dict[str, list[RunState]]] = {}
        for task, arm, runs in rows:
            if evaluated := [run for run in runs if run.pass_rates]:
                by_task.setdefault(task, {})[arm] = evaluated
        for task, arms in by_task.items():
            first = next(iter(arms))
            said = [_mean_and_lead(arm, runs, first, arms[first]) for arm, runs in arms.items()]
            table.add_row(task, f"held-out {', '.join(said)}")
        return table

    def _grid(self, rows: Sequence[Row]) -> Table:
        """A column per seed and per timing repeat."""
        columns = sorted({(run.spec.purpose == "timing", run.spec.seed) for run in self.runs})
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        for label in ("task", "arm"):
            table.add_column(label, no_wrap=True)
        for timing, seed in columns:
            label = "time" if timing else "seed" if seed < 10 else "s"
            table.add_column(f"{label}{seed}", justify="right", no_wrap=True)
        for task, arm, runs in _each_task_once(rows):
            at = {(run.spec.purpose == "timing", run.spec.seed): run for run in runs}
            table.add_row(task, arm, *[self._state_of(at[column]) if column in at else "" for column in columns])
        return table

    def _state_of(self, run: RunState) -> Text:
        sign, style = SIGNS[run.state]
        return Text(sign if run.reward is None else f"{sign}{run.reward:.2f}", style)

    def _strips(self, rows: Sequence[Row]) -> Table:
        """A sign per run and the mean reward, for more seeds than the terminal has room for."""
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        for label in ("task", "arm", "runs", "reward"):
            table.add_column(label, overflow="fold", no_wrap=label != "runs")
        for task, arm, runs in _each_task_once(rows):
            rewards = [run.reward for run in runs if run.reward is not None]
            mean = f"{sum(rewards) / len(rewards):.2f}" if rewards else ""
            table.add_row(task, arm, Text.assemble(*[SIGNS[run.state] for run in runs]), mean)
        return table

    def _running(self) -> Table:
        """A line per running run: how far, the training reward, seconds left."""
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        running = [run for run in self.runs if run.state == "running"]
        for run in running[:RUNNING_LINES]:
            total = run.spec.train.updates
            left = run.pace_s * (total - run.updates) if run.pace_s else None
            reward = "" if run.reward is None else f"reward {run.reward:.2f}"
            bar = ProgressBar(total=total, completed=run.updates, width=20)
            state = f"{clock(left)} left" if left is not None else "starting"
            table.add_row(run.name, bar, f"{run.updates}/{total}", reward, state)
        if len(running) > RUNNING_LINES:
            table.add_row(f"and {len(running) - RUNNING_LINES} more")
        return table

    def _legend(self) -> Text:
        signs = [(f"{sign} {state}  ", style) for state, (sign, style) in SIGNS.items()]
        return Text.assemble(*signs, ("number: training reward", "dim"))

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(shown(text), style=style, markup=False, highlight=False, soft_wrap=True)
