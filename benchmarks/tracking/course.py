"""The course of a growing run, as wandb wants it: each update once, with its evaluation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HELD_OUT = ("reward_mean", "greedy_pass", "completion_tokens_mean")


@dataclass(slots=True)
class Tail:
    """The lines of a growing file, each once; all of them again where another file took its place."""

    path: Path
    offset_bytes: int = 0
    inode: int = 0

    def read(self) -> list[dict[str, Any]]:
        """The objects in the lines that are new and whole; a broken line is the report's to name."""
        try:
            with self.path.open("rb") as file:
                found = os.fstat(file.fileno())
                if found.st_ino != self.inode or found.st_size < self.offset_bytes:
                    self.inode, self.offset_bytes = found.st_ino, 0
                file.seek(self.offset_bytes)
                lines, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return []
        self.offset_bytes += len(lines) + len(newline)
        rows = []
        for line in lines.splitlines():
            with suppress(ValueError):
                rows.append(json.loads(line))
        return [row for row in rows if isinstance(row, dict) and isinstance(row.get("update"), int)]


class Course:
    """What a run logs at each update: its metrics and its held-out scores."""

    def __init__(self, folder: Path) -> None:
        self._metrics, self._evals = Tail(folder / "metrics.jsonl"), Tail(folder / "evals.jsonl")
        self._rows: dict[int, dict[str, Any]] = {}
        self._prompts: dict[int, dict[int, dict[str, Any]]] = {}
        self._logged = -1
        self.scores: list[dict[str, float]] = []

    def read(self, ended: bool) -> list[tuple[int, dict[str, Any]]]:
        """Updates in order, each once. The newest waits for the next one: its evaluation may be half written."""
        self._rows |= {row["update"]: row for row in self._metrics.read()}
        for row in self._evals.read():
            # by prompt: an interrupted run that starts anew says everything again
            self._prompts.setdefault(row["update"], {})[row["prompt"]] = row
        newest = max(self._rows, default=0)
        ready = sorted(u for u in {*self._rows, *self._prompts} if ended or u < newest)
        moments = [(u, _moment(self._rows.pop(u, {}), list(self._prompts.pop(u, {}).values()))) for u in ready]
        moments = [(u, moment) for u, moment in moments if u > self._logged]
        for update, moment in moments:
            self._logged = update
            if "eval/pass_rate" in moment:
                self.scores.append({name[5:]: value for name, value in moment.items() if name.startswith("eval/")})
        return moments


def _moment(metrics: Mapping[str, Any], prompts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The values that one update logs. Nulls are left out, because wandb would plot them as text."""
    moment = {name: value for name, value in metrics.items() if value is not None}
    if prompts:
        moment |= {name: prompts[0][name] for name in ("update", "completions")}
        moment["eval/pass_rate"] = sum(row["passes"] / row["samples"] for row in prompts) / len(prompts)
        moment |= {f"eval/{name}": sum(row[name] for row in prompts) / len(prompts) for name in HELD_OUT}
    return moment
