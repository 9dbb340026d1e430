"""Results as runs of wandb, by a process of its own that can neither stop nor slow a suite.

`python -m ppo_vs_grpo.benchmarks.tracking results/core --mode offline` mirrors what is finished and not mirrored
yet; `mirrored` starts the same beside a suite. The files in results/ stay the truth: this only reads them.
"""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.records.folder import (
    LOCK,
    MANIFEST,
    PARTS,
    fingerprint,
    held,
    is_finished,
    run_folder,
)
from ppo_vs_grpo.benchmarks.records.lock import read_lock, run_names
from ppo_vs_grpo.benchmarks.records.manifest import is_complete
from ppo_vs_grpo.benchmarks.tracking.account import ACCOUNT, account_is_damaged, mirrored_so_far
from ppo_vs_grpo.benchmarks.tracking.beside import MODULE, Mode
from ppo_vs_grpo.benchmarks.tracking.course import Course
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from wandb import Run

POLL_S = 2.0
SMALL_BYTES = 1_000_000
REPORT = "report"


@dataclass(slots=True)
class Mirror:
    """A suite's folder and what of it is mirrored in one mode."""

    folder: Path
    mode: Mode
    active: dict[str, tuple[Run, Course]] = field(default_factory=dict)

    def step(self, ended: bool) -> None:
        """Mirror what is new; once the suite has ended, everything.

        While a timing run has the machine to itself, nothing: what the timing pass left comes at the end.
        """
        runs = {name.key: run_folder(self.folder, name.purpose, name.key) for name in run_names(self.folder)}
        begun = [place for place in runs.values() if place.exists() and not is_finished(place)]
        if not ended and any(place.parent.name == PARTS["timing"] for place in begun):
            return
        done = mirrored_so_far(self.folder).get(self.mode.value, {})
        for key, place in runs.items():
            # a run that is to be tried again loses its folder first: the next step finds the new one
            with suppress(FileNotFoundError):
                if is_finished(place):
                    now = ended or place.parent.name == PARTS["train"]
                    if now and done.get(key) != fingerprint(place / MANIFEST):
                        self._finish(key, place)
                elif not ended and place in begun and (place / "metrics.jsonl").exists():
                    self._log(key, place, ended=False)
        if ended:
            for run, _ in self.active.values():
                run.finish(exit_code=1)
            page = self.folder / REPORT / "report.html"
            if page.exists() and done.get(REPORT) != fingerprint(page):
                self._report(page)

    def _log(self, key: str, place: Path, ended: bool) -> tuple[Run, Course]:
        if key not in self.active:
            spec = json.loads((place / "spec.json").read_text(encoding="utf-8"))
            self.active[key] = self._init(key, spec["suite"], spec["arm"], spec), Course(place)
        run, course = self.active[key]
        for update, moment in course.read(ended):
            run.log(moment, step=update)
        return run, course

    def _finish(self, key: str, place: Path) -> None:
        manifest = json.loads((place / MANIFEST).read_text(encoding="utf-8"))
        run, course = self._log(key, place, ended=True)
        spec = json.loads((place / "spec.json").read_text(encoding="utf-8"))
        run.summary.update(_summary(manifest, spec, course.scores))
        small = [path for path in sorted(place.iterdir()) if path.is_file() and path.stat().st_size <= SMALL_BYTES]
        _attach(run, f"record-{key}", "run-record", small)
        run.finish(exit_code=int(manifest["status"] == "failed"))
        del self.active[key]
        self._note(key, place / MANIFEST)

    def _report(self, page: Path) -> None:
        import wandb

        suite = read_lock(self.folder)[0]
        run = self._init(f"{suite['name']}.{REPORT}", suite["name"], REPORT, suite)
        figures = sorted((page.parent / "figures").glob("*.png"))
        run.log({f"figures/{path.stem}": wandb.Image(str(path)) for path in figures})
        _attach(run, f"{REPORT}-{suite['name']}", REPORT, [page])
        run.finish()
        self._note(REPORT, page)

    def _init(self, key: str, group: str, job_type: str, config: Mapping[str, Any]) -> Run:
        """Begin a run, or go on with one; wandb itself drops the updates that it already has."""
        import wandb

        if self.mode is Mode.offline:
            for half in (self.folder / "wandb").glob(f"offline-run-*-{key}"):
                shutil.rmtree(half)
        settings = wandb.Settings(
            mode=self.mode.value, silent=True, console="off", symlink=False, disable_git=True, disable_code=True,
            save_code=False, x_save_requirements=False, x_disable_stats=True, x_disable_meta=True,
            x_disable_machine_info=True,
        )  # fmt: skip
        run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "ppo-vs-grpo"), id=key, name=key, group=group, job_type=job_type,
            config=dict(config), dir=str(self.folder), resume="allow", reinit="create_new", settings=settings,
        )  # fmt: skip
        run.define_metric("*", step_metric="completions")
        return run

    def _note(self, key: str, path: Path) -> None:
        """Remember that a run is mirrored, by the hash of the file that ended it."""
        place = self.folder / ACCOUNT
        notes = mirrored_so_far(self.folder)
        notes.setdefault(self.mode.value, {})[key] = fingerprint(path)
        half = place.with_suffix(".part")
        half.write_text(json.dumps(notes, indent=1))
        half.replace(place)


def watch(mirror: Mirror, stdin: IO[bytes]) -> None:
    """Mirror as the files grow, until `stdin` ends; then the rest."""
    ended = False
    while not ended:
        ended = bool(select.select([stdin], [], [], POLL_S)[0])
        mirror.step(ended)


def _summary(
    manifest: Mapping[str, Any], spec: Mapping[str, Any], scores: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """How a run ended: its manifest's numbers, and its last evaluation where that is final as in `Results.complete`."""
    plain = {name: value for name, value in manifest.items() if not isinstance(value, dict) and value is not None}
    final = scores[-1] if scores and is_complete(manifest["status"], manifest["completions"], spec) else {}
    return plain | {f"final_{name}": value for name, value in final.items()}


def _attach(run: Run, name: str, kind: str, paths: Sequence[Path]) -> None:
    import wandb

    artifact = wandb.Artifact(name, type=kind)
    for path in paths:
        artifact.add_file(str(path), skip_cache=True)
    run.log_artifact(artifact)


@contextmanager
def _claimed(folder: Path) -> Iterator[None]:
    """Let one process at a time mirror a folder."""
    (folder / "wandb").mkdir(exist_ok=True)
    with held(folder / "wandb" / ".lock", f"{folder}: another process is mirroring it"):
        yield


def _surroundings(folder: Path) -> None:
    """Keep what wandb stages with the results, and its own telemetry off."""
    os.environ["WANDB_ERROR_REPORTING"] = "false"
    for name in ("DATA", "CACHE"):
        os.environ.setdefault(f"WANDB_{name}_DIR", str(folder / "wandb" / name.lower()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Mirror a folder; whatever fails is one line on stderr."""
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="Mirror a suite's results to wandb.")
    parser.add_argument("results", type=Path, metavar="RESULTS", help="a suite's results, such as results/core")
    parser.add_argument("--mode", type=Mode, choices=(Mode.online, Mode.offline), default=Mode.offline)
    parser.add_argument("--follow", action="store_true", help="go on as the files grow, until standard input ends")
    given = parser.parse_args(arguments)
    folder = given.results.resolve()
    try:
        if given.follow:
            os.nice(19)  # the runs come first
            _wait_for(folder)
        if not (folder / LOCK).exists():
            if given.follow:
                return 0
            raise UserError(f"{given.results}: not a suite's results: no {LOCK} there")
        with _claimed(folder):
            _surroundings(folder)
            if account_is_damaged(folder):
                print(f"{folder / ACCOUNT}: damaged; everything is mirrored again", file=sys.stderr)
            mirror = Mirror(folder, given.mode)
            if given.follow:
                watch(mirror, sys.stdin.buffer)
            else:
                mirror.step(ended=True)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except Exception as error:  # any that wandb may raise: none is worth a traceback beside results that are there
        print(f"{type(error).__name__}: {' '.join(str(error).split())[:200]}", file=sys.stderr)
        return 1
    return 0


def _wait_for(folder: Path) -> None:
    """Wait for a suite's first file, or for the end of the input without one."""
    while not (folder / LOCK).exists():
        if select.select([sys.stdin.buffer], [], [], POLL_S / 10)[0]:
            return


if __name__ == "__main__":
    sys.exit(main())
