"""A library's own training loop, taken one update at a time, and its records; shared by all peers."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import Any, TypeVar

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainerCallback

from ppo_vs_grpo.algorithms.base import Algorithm
from ppo_vs_grpo.algorithms.shared.config import PHASES, TrainConfig
from ppo_vs_grpo.algorithms.shared.meters import PeakMemory, synchronize
from ppo_vs_grpo.algorithms.shared.metrics import sampled_metrics
from ppo_vs_grpo.algorithms.shared.networks.vocabulary import silence, unreadable
from ppo_vs_grpo.algorithms.shared.prompts import encode, renders
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine, RolloutEngine
from ppo_vs_grpo.algorithms.shared.scoring import score
from ppo_vs_grpo.algorithms.shared.trainer import UpdateRecord
from ppo_vs_grpo.algorithms.shared.types import Prompts, Rollouts, ScoredRollouts
from ppo_vs_grpo.algorithms.shared.update import REPORTS
from ppo_vs_grpo.tasks.base import Problem, Task
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.splits import problems

What = TypeVar("What")

QUIET: dict[str, Any] = {
    **{"report_to": "none", "save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True},
    **{"bf16": False, "gradient_checkpointing": False, "remove_unused_columns": False, "weight_decay": 0.0},
    "lr_scheduler_type": "constant_with_warmup",
}
"""Settings with which a TRL trainer is fastest: no logging, no checkpoints of either kind, float32."""


def one_at_a_time(loop: Callable[[Callable[[What], None]], None]) -> Iterator[What]:
    """Run `loop(report)` on a thread that waits after each report until the next one is asked for.

    The two sides never run at once. Exceptions of the loop are raised here.
    """
    reports: SimpleQueue[tuple[str, Any]] = SimpleQueue()
    go = Semaphore(0)

    def report(what: What) -> None:
        reports.put(("report", what))
        go.acquire()

    def body() -> None:
        go.acquire()
        try:
            loop(report)
        except BaseException as error:
            reports.put(("error", error))
        else:
            reports.put(("end", None))

    Thread(target=body, daemon=True).start()
    while True:
        go.release()
        kind, what = reports.get()
        if kind == "error":
            raise what
        if kind == "end":
            return
        yield what


Report = Callable[[UpdateRecord | None], None]
Loop = Callable[["PeerTrainer", Path, Report], None]
"""Runs a library's training in a scratch folder and reports through `UpdateSteps`."""


class PeerTrainer:
    """A library's trainer with the interface of `Trainer` that runs, evaluations and reports use.

    `loop` builds the library's trainer around `policy`, runs it to the end of the budget and calls `sampled` once per
    rollout batch. Metrics that a library does not report are None. Time is split in two around the rewards: `rollout`
    is all before them, including passes of reference and critic, and `update` is all after them.
    """

    def __init__(
        self,
        loop: Loop,
        policy: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        task: Task,
        algorithm: Algorithm,
        train: TrainConfig,
        seed: int,
    ) -> None:
        if renders(tokenizer, train.chat):
            raise UserError("train.chat: TRL's trainers get plain prompts here; set it to off for an arm of TRL's")
        self.max_new_tokens = train.max_new_tokens or task.max_new_tokens
        self.policy, self.tokenizer, self.task, self.algorithm, self.train = policy, tokenizer, task, algorithm, train
        self.seed, self.device = seed, policy.device
        self._end: int = tokenizer.eos_token_id
        self.unreadable = unreadable(policy, tokenizer, (self._end,))
        silence(policy, self.unreadable)
        pad = self._end if tokenizer.pad_token_id is None else tokenizer.pad_token_id
        limit, heat = self.max_new_tokens, train.temperature
        self.engine: RolloutEngine = HuggingFaceEngine(policy, pad, (self._end,), limit, heat)
        self.memory = PeakMemory(self.device)
        self._totals = {"completions": 0, "tokens": 0, "optimizer_steps": 0, "skipped_steps": 0}
        count = train.updates * train.prompts_per_update
        self.prompts = encode(tokenizer, problems(task, "train", seed, start=0, count=count), train.chat)
        self._number = 0
        self._scored: ScoredRollouts | None = None
        self._began_s = self._asked_s = self._answered_s = 0.0
        self._records = one_at_a_time(partial(self._in_a_folder, loop))
        next(self._records)  # the callback's report that the library is imported and its trainer built

    @property
    def width(self) -> int:
        """Tokens of the longest prompt plus those of the longest possible completion."""
        return max(map(len, self.prompts.ids)) + self.max_new_tokens

    @property
    def completions(self) -> int:
        """Completions of the budget used so far."""
        return self._totals["completions"]

    def encode(self, drawn: list[Problem]) -> Prompts:
        """Tokenize problems as prompts."""
        return encode(self.tokenizer, drawn, self.train.chat)

    def updates(self, count: int, measure_memory: bool = False) -> Iterator[UpdateRecord]:
        """Run `count` more updates; none to measure memory, since a library's phases cannot be told apart."""
        for _ in range(0 if measure_memory else count):
            yield from self._next()

    def until_spent(self) -> Iterator[UpdateRecord]:
        """Run the updates of the budget."""
        while self._number < self.train.updates:
            yield from self._next()

    def _next(self) -> Iterator[UpdateRecord]:
        record = next(self._records, None)
        if record is None:
            raise RuntimeError(f"update {self._number + 1}: the library ended before its budget")
        yield record
        if self._number == self.train.updates:
            next(self._records, None)  # so that the library's loop ends and leaves no folder behind

    def next_prompts(self) -> Prompts:
        """The prompts of the current update, the same as in every arm: P of the budget's `prompts`."""
        size = self.train.prompts_per_update
        part = slice(self._number * size, (self._number + 1) * size)
        return Prompts(self.prompts.problems[part], self.prompts.ids[part])

    def sampled(self, completions: Sequence[Sequence[int]]) -> ScoredRollouts:
        """Score the completions of the current update: B lists of ids, group by group in the order of the prompts.

        Ids after the first end token are ignored.
        """
        synchronize(self.device)
        self._asked_s = time.perf_counter()
        rollouts = as_rollouts(self.next_prompts(), self.train.group_size, completions, self._end, self.max_new_tokens)
        self._scored = score(rollouts, self.task, self.tokenizer)
        self._answered_s = time.perf_counter()
        return self._scored

    def _in_a_folder(self, loop: Loop, report: Report) -> None:
        with tempfile.TemporaryDirectory(prefix="ppo-vs-grpo-") as folder:
            loop(self, Path(folder), report)

    def start_clock(self) -> None:
        """Start the time of an update."""
        self._began_s = time.perf_counter()

    def update(self) -> UpdateRecord:
        """The record of the update that just ended."""
        synchronize(self.device)
        now_s = time.perf_counter()
        if self._scored is None:
            raise RuntimeError(f"update {self._number + 1}: the library took a step without asking for rewards")
        scored, self._scored = self._scored, None
        self._number += 1
        self._totals["completions"] += len(scored.rewards_B)
        self._totals["tokens"] += int(scored.rollouts.mask_BT.sum())
        self._totals["optimizer_steps"] += self.train.epochs * self.train.mini_batches
        seconds = dict.fromkeys(PHASES, 0.0)
        seconds["rollout"] = self._asked_s - self._began_s
        seconds["reward"] = self._answered_s - self._asked_s
        seconds["update"] = now_s - self._answered_s
        metrics: dict[str, float | int | bool | None] = {
            "update": self._number,
            **self._totals,
            **sampled_metrics(scored),
            **dict.fromkeys(("advantage_std", "value_explained_variance", "learning_rate", *REPORTS)),
            **{f"{name}_s": spent for name, spent in seconds.items()},
        }
        return UpdateRecord(self._number, metrics, scored)


class UpdateSteps(TrainerCallback):
    """Turns `per_update` steps of a library into one update, whose time runs from report to report."""

    def __init__(self, peer: PeerTrainer, report: Report, per_update: int) -> None:
        self._peer, self._report, self._per_update = peer, report, per_update
        self._steps = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report that everything is set up, and start the clock of the first update."""
        self._report(None)
        self._peer.start_clock()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report an update after its last step."""
        self._steps += 1
        if self._steps == self._per_update:
            self._steps = 0
            self._report(self._peer.update())
            self._peer.start_clock()


def micro_batch_rows(step_rows: int, width: int, budget_tokens: int) -> int:
    """The largest divisor of a step's rows whose padded tokens fit the budget; at least 1."""
    fitting = [rows for rows in range(1, step_rows + 1) if step_rows % rows == 0 and rows * width <= budget_tokens]
    return max(fitting, default=1)


def as_rollouts(
    prompts: Prompts, group_size: int, completions: Sequence[Sequence[int]], end: int, max_tokens: int
) -> Rollouts:
    """Lists of ids as rollouts, each cut after its end token. Log-probabilities are unknown and set to 0."""
    kept = [list(ids[: ids.index(end) + 1] if end in ids else ids) for ids in map(list, completions)]
    lengths_B = torch.tensor([len(ids) for ids in kept])
    mask_BT = torch.arange(int(lengths_B.max())) < lengths_B[:, None]
    completion_BT = torch.zeros(mask_BT.shape, dtype=torch.long)
    completion_BT[mask_BT] = torch.tensor([token for ids in kept for token in ids])
    zeros_BT = torch.zeros(mask_BT.shape)
    group_B = torch.arange(len(prompts.ids)).repeat_interleave(group_size)
    ended_B = torch.tensor([ids[-1] == end for ids in kept])
    return Rollouts(prompts, group_B, completion_BT, mask_BT, zeros_BT, zeros_BT, ended_B, max_tokens)
