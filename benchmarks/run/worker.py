"""One process, one run: read spec.json, train, leave records."""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.probes import ProbeConfig
from ppo_vs_grpo.benchmarks.profile import trace
from ppo_vs_grpo.benchmarks.records.folder import disk_failed
from ppo_vs_grpo.benchmarks.records.recorder import Recorder
from ppo_vs_grpo.benchmarks.run import checkpoints
from ppo_vs_grpo.benchmarks.run.attempts import retried
from ppo_vs_grpo.benchmarks.run.heartbeat import Heartbeat, still
from ppo_vs_grpo.benchmarks.run.machine import CONTENDED_CORES, Neighbours, seconds_since_process_start
from ppo_vs_grpo.benchmarks.run.trainers import make_trainer
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import Checkpoints

if TYPE_CHECKING:
    from ppo_vs_grpo.algorithms.shared.trainer import Trainer
    from ppo_vs_grpo.benchmarks.profile.flops import Costs
    from ppo_vs_grpo.benchmarks.run.trainers import RunTrainer
    from ppo_vs_grpo.tasks.splits import Split

MEMORY_UPDATES = 2
"""Updates at the end of a timing run in which memory is measured and time is not."""


def main(arguments: list[str] | None = None) -> int:
    """Train one run; 0 when it finished or diverged, 1 when it failed."""
    parser = argparse.ArgumentParser(prog="python -m ppo_vs_grpo.benchmarks.run.worker", description=main.__doc__)
    parser.add_argument("folder", type=Path, help="the run's folder, with its spec.json")
    parser.add_argument("start", type=Path, help="the start model's folder")
    parser.add_argument("--contended", action="store_true", help="the run shares the machine with others")
    parser.add_argument("--device", default="cpu", help="where the networks live, as torch names it")
    parser.add_argument("--profile", action="store_true", help="a timing run leaves a trace and a table of phases")
    parser.add_argument("--checkpoint", type=Checkpoints.model_validate_json, help="a suite's section, as JSON")
    parser.add_argument("--go-on", type=int, metavar="UPDATE", help="the checkpoint that the folder went back to")
    parser.add_argument("--save-policies", action="store_true", help="keep the final policy, and the critic")
    args = parser.parse_args(arguments)
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    seconds_since_process_start()  # notes when that was
    spec = RunSpec.model_validate_json((args.folder / "spec.json").read_text())
    recorder = Recorder(args.folder, spec.identity)
    profiled = args.profile and spec.purpose == "timing"
    run = Run(spec, recorder, args.contended, profiled, args.device, args.checkpoint, args.go_on)
    try:
        status, error = run.train(args.start)
        if args.save_policies:
            error = run.save_policies(args.start) or error
    except Exception as failure:
        traceback.print_exc()
        status, error = "failed", f"{type(failure).__name__}: {failure}".splitlines()[0]
        if not disk_failed(failure):  # an error of its own, which would come again: the next attempt begins anew
            checkpoints.discard(args.folder)
    still(args.folder)
    recorder.finish({"status": status, "error": error, **run.summary()})
    if status != "failed" and not (args.checkpoint and args.checkpoint.keep):
        checkpoints.discard(args.folder)
    return 1 if status == "failed" else 0


class Run:
    """The state of one run: how far it is and how long each part took."""

    def __init__(
        self,
        spec: RunSpec,
        recorder: Recorder,
        contended: bool,
        profiled: bool = False,
        device: str = "cpu",
        checkpoint: Checkpoints | None = None,
        go_on: int | None = None,
    ) -> None:
        """Take what the run is and how it is run; `go_on` is the update of the checkpoint from which it goes on."""
        self.spec, self.recorder, self.contended, self.profiled = spec, recorder, contended, profiled
        self.device, self.checkpoint, self.go_on = device, checkpoint, go_on
        self._heart = Heartbeat(recorder.folder)
        self._resumed, self._earlier_s = 0, 0.0
        self._kept = (0, 0.0)  # update and moment of the last checkpoint
        self._neighbours = Neighbours()
        self._startup_s: float | None = None
        self._eval_s = self._train_s = self._probe_s = 0.0
        self._last: dict[str, Any] = {}
        self._trainer: RunTrainer | None = None

    def train(self, start: Path) -> tuple[str, str | None]:
        """Train to the end of the budget: ("ok", None) or ("diverged", why)."""
        import torch

        from ppo_vs_grpo.algorithms.shared.trainer import DivergedError
        from ppo_vs_grpo.benchmarks.run.machine import surroundings

        if self.spec.threads is not None:
            torch.set_num_threads(self.spec.threads)
        trainer = make_trainer(self.spec, start, self.device, more_updates=trace.UPDATES if self.profiled else 0)
        self._trainer = trainer
        self._heart.beat()
        if self.spec.purpose == "train":  # in the timing pass nothing is hung into what is timed
            self._heart.follow(trainer.policy)
        (self.recorder.folder / "env.json").write_text(json.dumps(surroundings(self.device), indent=1) + "\n")
        self._startup_s = seconds_since_process_start()
        self._neighbours = Neighbours()
        try:
            if self.spec.purpose == "timing":
                self._time(trainer)
            else:
                self._learn(trainer)
        except DivergedError as end:
            return "diverged", str(end)
        return "ok", None

    def summary(self) -> dict[str, Any]:
        """The manifest's numbers."""
        memory = self._trainer.memory.whole_process() if self._trainer else {}
        for source, peak_bytes in memory.items():
            self.recorder.memory("process", source, peak_bytes)
        counts = {name: self._last.get(name, 0) for name in ("update", "completions", "tokens", "optimizer_steps")}
        counts["updates"] = counts.pop("update")
        rest: dict[str, Any] = {"retried": retried(self.recorder.folder)}
        if self._trainer:
            rest["parameters"] = sum(parameter.numel() for parameter in self._trainer.policy.parameters())
        return {**counts, **self._meters(), "peak_rss_bytes": memory.get("peak_rss"), **rest}

    def save_policies(self, start: Path) -> str | None:
        """Save the networks as they are. What goes wrong is returned: a run's records are worth more than they."""
        from ppo_vs_grpo.benchmarks.run import policies

        try:
            if self._trainer:
                updates = self._last.get("update", 0)
                policies.save(self._trainer, self.recorder.folder, start, self.spec, updates)
        except Exception as failure:
            traceback.print_exc()
            return f"its policy was not saved: {type(failure).__name__}: {failure}".splitlines()[0]
        return None

    def _meters(self) -> dict[str, Any]:
        """What a run measures of itself. Of one that went on from checkpoints: sums over the pieces that count."""
        return {
            "train_s": self._train_s,
            "wall_s": self._earlier_s + seconds_since_process_start(),
            "startup_s": self._startup_s,
            "eval_s": self._eval_s,
            "probe_s": self._probe_s,
            "contended": self.contended or self._neighbours.cores() > CONTENDED_CORES,
            "resumed": self._resumed,
        }

    def _learn(self, trainer: RunTrainer) -> None:
        """The comparison: train, and evaluate at evenly spaced points, first and last included."""
        from ppo_vs_grpo.algorithms.shared.trainer import Trainer
        from ppo_vs_grpo.benchmarks.run.evaluate import Evaluator

        train, points = self.spec.train, self.spec.eval.points
        marks = sorted({round(i * train.updates / (points - 1)) * train.batch_completions for i in range(points)})
        evaluator = Evaluator(trainer, self.spec.eval, "validation" if self.spec.tuning else "heldout")
        first, middle, last = marks[0], marks[len(marks) // 2], marks[-1]

        def look(update: int) -> None:
            mark = marks.pop(0)
            self._evaluate(evaluator, update, mark)
            if self.spec.probes and isinstance(trainer, Trainer) and mark in (first, middle, last):
                self._probe(trainer, self.spec.probes, update, mark, memory=mark == middle)

        if self.go_on is not None and isinstance(trainer, Trainer):
            self._restore(trainer, self.go_on)
            marks = [mark for mark in marks if mark > self._last["completions"]]
        else:
            look(0)
        self._kept = (self._last.get("update", 0), time.monotonic())
        for record in trainer.until_spent():
            self._record(record.metrics, warmup=False)
            while marks and self._last["completions"] >= marks[0]:
                look(record.update)
            if self.checkpoint and isinstance(trainer, Trainer) and self._is_due(self.checkpoint, record.update):
                self._keep(trainer)
        while marks:  # the rest of the budget does not cover another update
            look(self._last["update"])

    def _is_due(self, asked: Checkpoints, update: int) -> bool:
        """Whether a checkpoint is due after this update."""
        kept, kept_s = self._kept
        late = asked.minutes is not None and time.monotonic() - kept_s >= 60 * asked.minutes
        return late or (asked.updates is not None and update - kept >= asked.updates)

    def _keep(self, trainer: Trainer) -> None:
        """Write a checkpoint. One that cannot be written costs the run a line of its log and no more."""
        start_s, update = perf_counter(), self._last["update"]
        meters = {**self._meters(), "peak_bytes": trainer.memory.whole_process()}
        try:
            rest = {"meters": meters, "records": self.recorder.standing()}
            size_bytes = checkpoints.write(self.recorder.folder, self.spec, trainer.state(), rest)
            print(f"checkpoint of update {update}: {size_bytes / 1e6:.1f} MB in {perf_counter() - start_s:.2f} s")
        except OSError as error:
            print(f"checkpoint of update {update}: not written: {error}")
        self._heart.beat()
        self._kept = (update, time.monotonic())

    def _restore(self, trainer: Trainer, update: int) -> None:
        """Go on from a checkpoint: the trainer, its records, and the meters of the pieces before."""
        state, content = checkpoints.read(self.recorder.folder, update)
        trainer.restore(state)
        self._last = self.recorder.go_on(content["records"])
        before = content["meters"]
        self._train_s, self._eval_s, self._probe_s = (before[name] for name in ("train_s", "eval_s", "probe_s"))
        self._earlier_s, self._resumed = before["wall_s"], before["resumed"] + 1
        self._startup_s = before["startup_s"] + (self._startup_s or 0.0)
        self.contended = self.contended or before["contended"]
        trainer.memory.peaks.update({("process", source): peak for source, peak in before["peak_bytes"].items()})

    def _time(self, trainer: RunTrainer) -> None:
        """The timing pass: warm-up, measured updates, then updates whose memory is measured."""
        timing = self.spec.timing
        if timing is None:
            raise ValueError("a timing run needs the suite's timing section")
        for record in trainer.updates(timing.warmup_updates + timing.updates):
            self._record(record.metrics, warmup=record.update <= timing.warmup_updates)
        for _ in trainer.updates(MEMORY_UPDATES, measure_memory=True):
            pass
        for (phase, source), peak_bytes in sorted(trainer.memory.peaks.items()):
            if phase != "process":
                self.recorder.memory(phase, source, peak_bytes)
        if self.profiled:
            trace.profile(trainer.updates(trace.UPDATES), self.recorder.folder)

    def _record(self, metrics: dict[str, Any], warmup: bool) -> None:
        from ppo_vs_grpo.algorithms.shared.config import PHASES

        self._train_s += sum(metrics[f"{phase}_s"] for phase in PHASES)
        self._last = {**metrics, "warmup": warmup, "train_s": self._train_s}
        self.recorder.metrics(self._last)
        self._heart.beat()

    def _probe(self, trainer: Trainer, probes: ProbeConfig, update: int, completions: int, memory: bool) -> None:
        from ppo_vs_grpo.benchmarks.probes.rows import probe_rows
        from ppo_vs_grpo.benchmarks.profile.flops import flop_rows, measure_costs

        start_s = perf_counter()
        split: Split = "validation" if self.spec.tuning else "heldout"
        costs = measure_costs(trainer)
        rows = [*probe_rows(trainer, probes, split, self.spec.seed), *flop_rows(costs)]
        self.recorder.probes({"update": update, "completions": completions, **row} for row in rows)
        if memory:
            self._memory_by_role(trainer, costs)
        self._probe_s += perf_counter() - start_s

    def _memory_by_role(self, trainer: Trainer, costs: Costs) -> None:
        from ppo_vs_grpo.benchmarks.profile.predict import predict_run

        for peak in costs.peaks:
            self.recorder.memory(peak.phase, "tracked", peak.bytes_at_total_peak, peak.role)
            self.recorder.memory(peak.phase, "tracked_alone", peak.own_peak_bytes, peak.role)
        for peak in predict_run(trainer):
            self.recorder.memory(peak.phase, "predicted", peak.bytes_at_total_peak, peak.role)

    def _evaluate(self, evaluator: Any, update: int, completions: int) -> None:
        start_s = perf_counter()
        evaluation = evaluator(update, completions)
        self.recorder.evals(evaluation.rows, evaluation.transcripts)
        self._eval_s += perf_counter() - start_s


if __name__ == "__main__":
    raise SystemExit(main())
