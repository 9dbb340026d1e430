"""What a suite's run shows while it works: a live table, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ppo_vs_grpo.benchmarks.run.engines.job import Job
from ppo_vs_grpo.benchmarks.run.state import Cell, State, left_s

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
    """Shows the cells of a suite. A context: the terminal is restored when it ends, however it ends."""

    def __init__(self, console: Console, suite: str, cells: Sequence[Cell], slots: int) -> None:
        """Take the suite's name and cells; `slots` is how many runs share the machine in training."""
        self.console, self.suite, self.cells, self.slots = console, suite, cells, slots
        self.interrupted = False
        self._already = sum(cell.done for cell in cells)
        self._status = ""
        self._started_s = self._shown_s = time.monotonic()
        self._live = Live(console=console, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Board:
        """Start the live table; without a terminal, say how much there is to do."""
        if self._live:
            self._live.start()
        else:
            self._print(f"{self.suite}: {len(self.cells)} runs, {self._already} of them finished before")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the last state of the table on the terminal."""
        if self._live:
            self._live.update(self.render(), refresh=True)
            self._live.stop()

    def say(self, text: str) -> None:
        """Tell what begins now."""
        self._status = text
        if not self._live:
            self._print(text)

    def ended(self, cell: Cell) -> None:
        """Tell that a run ended; the live table shows it by itself."""
        if not self._live:
            done = sum(c.done for c in self.cells)
            reward = "" if cell.reward is None else f", reward {cell.reward:.2f}"
            error = f": {cell.error}" if cell.error else ""
            counter = f"[{done}/{len(self.cells)}]"
            self._print(f"{counter} {cell.name}: {cell.state}{reward}, {clock(cell.elapsed_s)}, {self._ahead()}{error}")

    def refresh(self) -> None:
        """Look at the running cells' files and draw anew, if the last time is long enough ago."""
        if time.monotonic() - self._shown_s < REFRESH_S:
            return
        self._shown_s = time.monotonic()
        for cell in self.cells:
            if cell.state == "running":
                cell.follow()
        if self._live:
            self._live.update(self.render(), refresh=True)

    def conclude(self) -> None:
        """After the last run: what failed and why, or how to go on."""
        failed = [cell for cell in self.cells if cell.state == "failed"]
        for cell in failed:
            self._print(f"✗ {cell.name}: {cell.error} ({cell.folder})", style="red")
        if failed:
            self._print(f"{len(failed)} of {len(self.cells)} runs failed; the same command runs them again.")
        if self.interrupted:
            done = sum(cell.state in ("ok", "diverged") for cell in self.cells)
            self._print(
                f"Interrupted with {done} of {len(self.cells)} runs finished; the same command goes on from there."
            )

    def render(self) -> RenderableType:
        """The table, the running runs under it, and the state of the whole."""
        grid = self._grid()
        width = Measurement.get(self.console, self.console.options.update(width=10_000), grid).maximum
        table = grid if width <= self.console.width else self._strips()
        return Group(self._head(), table, self._running(), self._legend())

    def _head(self) -> Text:
        done, failed = (sum(test) for test in ((c.done for c in self.cells), (c.state == "failed" for c in self.cells)))
        parts = [f"{done}/{len(self.cells)} runs", *[f"{failed} failed"] * bool(failed)]
        parts += [f"{clock(time.monotonic() - self._started_s)} elapsed", self._ahead()]
        return Text.assemble((self.suite, "bold"), "  ", " · ".join(parts), "\n", (self._status, "dim"))

    def _ahead(self) -> str:
        left = left_s(self.cells, self.slots)
        return "time left not known yet" if left is None else f"about {clock(left)} left"

    def _rows(self) -> Iterator[tuple[str, str, list[Cell]]]:
        rows: dict[tuple[str, str], list[Cell]] = {}
        for cell in self.cells:
            rows.setdefault((cell.spec.task, cell.spec.arm), []).append(cell)
        for task in dict.fromkeys(task for task, _ in rows):
            for number, arm in enumerate(arm for label, arm in rows if label == task):
                yield task if number == 0 else "", arm, rows[task, arm]

    def _grid(self) -> Table:
        """A column per seed and per timing repeat."""
        columns = sorted({(cell.spec.purpose == "timing", cell.spec.seed) for cell in self.cells})
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        for label in ("task", "arm"):
            table.add_column(label, no_wrap=True)
        for timing, seed in columns:
            label = "time" if timing else "seed" if seed < 10 else "s"
            table.add_column(f"{label}{seed}", justify="right", no_wrap=True)
        for task, arm, cells in self._rows():
            at = {(cell.spec.purpose == "timing", cell.spec.seed): cell for cell in cells}
            table.add_row(task, arm, *[self._cell(at[column]) if column in at else "" for column in columns])
        return table

    def _cell(self, cell: Cell) -> Text:
        sign, style = SIGNS[cell.state]
        return Text(sign if cell.reward is None else f"{sign}{cell.reward:.2f}", style)

    def _strips(self) -> Table:
        """A sign per run and the mean reward, for more seeds than the terminal has room for."""
        table = Table(box=None, padding=(0, 1, 0, 0), header_style="dim")
        for label in ("task", "arm", "runs", "reward"):
            table.add_column(label, overflow="fold", no_wrap=label != "runs")
        for task, arm, cells in self._rows():
            rewards = [cell.reward for cell in cells if cell.reward is not None]
            mean = f"{sum(rewards) / len(rewards):.2f}" if rewards else ""
            table.add_row(task, arm, Text.assemble(*[SIGNS[cell.state] for cell in cells]), mean)
        return table

    def _running(self) -> Table:
        """A line per running run: how far, the training reward, seconds left."""
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        running = [cell for cell in self.cells if cell.state == "running"]
        for cell in running[:RUNNING_LINES]:
            total = cell.spec.train.updates
            left = cell.elapsed_s / cell.updates * (total - cell.updates) if cell.updates else None
            reward = "" if cell.reward is None else f"reward {cell.reward:.2f}"
            bar = ProgressBar(total=total, completed=cell.updates, width=20)
            state = f"{clock(left)} left" if left is not None else "starting"
            table.add_row(cell.name, bar, f"{cell.updates}/{total}", reward, state)
        if len(running) > RUNNING_LINES:
            table.add_row(f"and {len(running) - RUNNING_LINES} more")
        return table

    def _legend(self) -> Text:
        signs = [(f"{sign} {state}  ", style) for state, (sign, style) in SIGNS.items()]
        return Text.assemble(*signs, ("number: training reward", "dim"))

    def _print(self, text: str, style: str | None = None) -> None:
        self.console.print(text, style=style, markup=False, highlight=False, soft_wrap=True)
