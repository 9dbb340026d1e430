"""Reasoning Gym: problems of any of its generators (Stojanovski et al. 2025, arXiv 2505.24760), scored by their rules.

Its item i under seed s is item 0 under seed s + i, so neighbouring seeds share nearly all their items. Here each draw
has a seed of its own.

The generators' rules read completions in a child process: some evaluate, parse or search what they are given, and no
signal ends a power of huge numbers, or passes a rule that catches everything. A process can be ended from any thread.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from ppo_vs_grpo.tasks.base import Problem, Score
from ppo_vs_grpo.tasks.embedded import foreign
from ppo_vs_grpo.tasks.errors import UserError, nearest
from ppo_vs_grpo.tasks.options import flag, whole_number
from ppo_vs_grpo.tasks.rewards.rules import number
from ppo_vs_grpo.tasks.rewards.worker import SCORING_BYTES, FailedCall, Place, Worker

INSTRUCTION = "Write the final answer between <answer> and </answer>."

SEEDS = 2**32
"""Seeds of items; some generators seed numpy, which takes no more."""

KEPT = 4096
"""Problems whose entries are kept for their scores; others are generated again."""

LIMIT_S = 10.0
"""For one score. The rules take milliseconds; a completion that takes longer is wrong."""

FRESH = ("acre", "gsm_symbolic", "list_functions", "survo")
"""Generators whose item depends on the seed that they were made with. Seeding the others again is faster."""

WITHOUT_ANSWER = ("boxnet", "graph_color", "propositional_logic", "rubiks_cube", "rush_hour")
"""Generators that give no answer beside their problems: they score, and demonstrate nothing."""


class ReasoningGym:
    """The problems of one `generator`, made with its own `config`.

    An answer is what stands in the last <answer></answer>, else the whole completion, without blanks around it. It
    passes if the generator's own rule gives it exactly 1. The reward is the pass, or with `graded` what that rule
    gives: part credit for text that contains the answer, among others.

    With `rule` "number" the prompt asks for no tags, and an answer passes if its final number is the right one: for
    models too small to follow a form.

    The part `parsed` is 0 where the rule raised, took LIMIT_S seconds or too much memory, and so paid nothing.
    """

    version: ClassVar[int] = 1
    best_score = 1.0

    def __init__(
        self, generator: str, graded: bool = False, rule: str = "own", max_new_tokens: int = 256, **config: Any
    ) -> None:
        self.name = f"reasoning-gym/{generator}"
        self.graded = flag("graded", graded)
        if rule not in ("own", "number") or (rule == "number" and graded):
            raise UserError(f"options.rule: {rule!r}: should be own, the generator's; or number, which is not graded")
        self._by_number = rule == "number"
        self.max_new_tokens = whole_number("max_new_tokens", max_new_tokens, 1, 10**6)
        self._generator, self._config = generator, config
        self._items = _generator(generator, config)
        self._worker = Worker(SCORING_BYTES)
        self._rule = Place(f"{__name__}:rule_of", {"generator": generator, "config": config})
        self._entry = lru_cache(maxsize=KEPT)(self._generate)

    def draw(self, rng: np.random.Generator) -> Problem:
        """Draw a seed. The facts are the seed and the answer, None where the generator knows none."""
        seed = int(rng.integers(SEEDS))
        entry = self._entry(seed)
        question = entry["question"] if self._by_number else f"{entry['question']}\n{INSTRUCTION}"
        return Problem(question, {"seed": seed, "answer": entry["answer"]})

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Write the answer. Raises UserError where there is none, or where an embedded model cannot read the text."""
        answer = problem.facts["answer"]
        if not isinstance(answer, str):
            raise UserError(f"start: {self.name} knows no answers to demonstrate; name a saved model")
        if unread := foreign(problem.prompt + answer):
            raise UserError(f"start: the embedded models read ASCII only, not the {unread!r} of {self.name}")
        return answer

    def score(self, problem: Problem, completion: str) -> Score:
        """Score the final answer. What the rule cannot read is wrong."""
        if self._by_number:
            reward, parsed = number(completion, str(problem.facts["answer"]))
            return Score(reward, reward == 1.0, {"parsed": float(parsed)})
        asked = {"completion": completion, "entry": dict(self._entry(problem.facts["seed"]))}
        try:
            (credit,) = self._worker.call(self._rule, asked, LIMIT_S)
        except FailedCall:
            credit, parsed = 0.0, False
        else:
            credit, parsed = (float(credit), True) if math.isfinite(credit) else (0.0, False)
        passed = credit == 1.0
        return Score(credit if self.graded else float(passed), passed, {"credit": credit, "parsed": float(parsed)})

    def _generate(self, seed: int) -> Mapping[str, Any]:
        if self._generator in FRESH:
            self._items = _generator(self._generator, self._config, seed)
        self._items.seed = seed
        entry: Mapping[str, Any] = self._items[0]
        return entry


def rule_of(generator: str, config: Mapping[str, Any]) -> Callable[..., list[float]]:
    """The generator's own rule, from a completion and the entry of its problem to the credit, in a list."""
    from reasoning_gym.utils import extract_answer

    warnings.simplefilter("ignore")  # numpy quotes what it cannot read, and a run's log is no place for that
    items = _generator(generator, config)

    def rule(completion: str, entry: dict[str, Any]) -> list[float]:
        tagged = extract_answer(completion)
        return [float(items.score_answer(completion.strip() if tagged is None else tagged, entry))]

    return rule


def _generator(name: str, config: Mapping[str, Any], seed: int = 0) -> Any:
    """The generator's dataset of one item. Raises UserError for an unknown name, and for a wrong option."""
    try:
        from reasoning_gym.factory import DATASETS, create_dataset
    except ImportError:
        raise UserError("task: reasoning-gym is not installed: pip install 'ppo-vs-grpo[gym]'") from None
    if name not in DATASETS:
        raise UserError(f"task: reasoning-gym has no generator {name!r}; {nearest(name, sorted(DATASETS))}")
    known = [field.name for field in fields(DATASETS[name][1]) if field.name not in ("seed", "size")]
    for option in config:
        if option not in known:
            own = ("graded", "rule", "max_new_tokens")
            raise UserError(f"options.{option}: {name!r} has no such option; {nearest(option, [*known, *own])}")
    try:
        return create_dataset(name, seed=seed, size=1, **config)
    except Exception as error:  # generators assert what their options should be, each in its own way
        raise UserError(f"options: {dict(config)}: {name!r} refuses them: {error or type(error).__name__}") from None
