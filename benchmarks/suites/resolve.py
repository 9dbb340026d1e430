"""From a suite to the runs it asks for: algorithms, peers and tasks are found here, and their settings checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.benchmarks.models import critic
from ppo_vs_grpo.benchmarks.peers import PEERS
from ppo_vs_grpo.benchmarks.records.lock import Differences, document
from ppo_vs_grpo.benchmarks.suites.mistakes import explain
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec
from ppo_vs_grpo.benchmarks.suites.sections import Arm, SuiteTask, TaskChoice, Timing
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.environment import passing
from ppo_vs_grpo.tasks.errors import UserError


@dataclass(frozen=True, slots=True)
class _Place:
    """A task or a timing cell where arms run, looked up: its data, its length limit, its start model.

    `start` is the name with the commit where a model of the hub was named by its branch; so are reward models in
    `choice`. `start_quantization` says how
    its weights are quantised; None where they are not, or not there yet.
    """

    choice: TaskChoice
    data: str
    max_new_tokens: int
    start: str
    start_hash: str
    start_quantization: str | None


def resolve(suite: Suite, source: str) -> list[RunSpec]:
    """The suite's runs in the order in which to start them: seed by seed, task by task, arms alternating.

    Then the timing pass: per task the arms forward, then backward, and so on; and the same per timing cell. Algorithms
    and tasks are loaded here and their settings checked, as are the claims' measures; `source` names the suite's file
    in a message.
    """
    _check_claims(suite, source)
    with passing(suite.environment):
        places = {
            label: _resolve_place(task.choice, task.start or suite.start, source, f"tasks.{label}", suite)
            for label, task in suite.tasks.items()
        }
    on = {}
    for task, place in places.items():
        here = [arm for arm in suite.arms if task in suite.runs_on(arm)]
        on[task] = _resolve_arms(suite, here, suite.tasks[task], place, source, f"tasks.{task}")
    specs = [
        _spec(suite, arm, task, seed, places[task], on[task][arm], source)
        for seed in suite.seeds
        for task in places
        for arm in on[task]
        if seed in suite.seeds_of(arm)
    ]
    if suite.timing:
        for task, place in places.items():
            timed = {arm: on[task][arm] for arm in on[task] if arm in (suite.timing.arms or suite.arms)}
            specs += _timed(suite, suite.timing, task, place, timed, source)
        specs += _resolve_cells(suite, suite.timing, source)
    return specs


def _resolve_arms(
    suite: Suite, labels: Iterable[str], task: SuiteTask, place: _Place, source: str, key: str
) -> dict[str, tuple[dict[str, Any], TrainConfig]]:
    """The settings of these arms on a task, which may have shared settings of its own; `key` is the task's."""
    try:
        shared = TrainConfig.model_validate(suite.train.model_dump() | task.train)
    except ValidationError as error:
        raise explain(error, TrainConfig, source, f"{key}.train") from None
    arms = {arm: _resolve_arm(shared, arm, suite.arms[arm], place.max_new_tokens, source) for arm in labels}
    _check_trained(place, arms, source)
    return arms


def _resolve_cells(suite: Suite, timing: Timing, source: str) -> list[RunSpec]:
    """The timing runs of the cells; repeat by repeat over all cells, so that a slow hour does not fall on one."""
    by_cell = []
    for label, cell in timing.cells.items():
        key = f"timing.cells.{label}"
        with passing(suite.environment):
            place = _resolve_place(cell.choice, cell.start, source, key)
        timed = _resolve_arms(suite, cell.arms or timing.arms or suite.arms, cell, place, source, key)
        by_cell.append(_timed(suite, timing, label, place, timed, source))
    return [spec for repeat in range(timing.repeats) for specs in by_cell for spec in specs if spec.seed == repeat]


def _timed(
    suite: Suite,
    timing: Timing,
    task: str,
    place: _Place,
    arms: Mapping[str, tuple[dict[str, Any], TrainConfig]],
    source: str,
) -> list[RunSpec]:
    """The timing runs of a task or cell: the arms forward, then backward, and so on."""
    order, alone = list(arms), timing.model_copy(update={"cells": {}})
    return [
        _spec(suite, arm, task, repeat, place, arms[arm], source, alone)
        for repeat in range(timing.repeats)
        for arm in (order[::-1] if repeat % 2 else order)
    ]


def _spec(
    suite: Suite,
    arm: str,
    task: str,
    seed: int,
    place: _Place,
    settings: tuple[dict[str, Any], TrainConfig],
    source: str,
    timing: Timing | None = None,
) -> RunSpec:
    """One run; a timing run's budget is what the clock needs."""
    config, train = settings
    try:
        config = critic.at_digest(config, task, place.start_hash, train.lora_rank)
    except UserError as error:
        raise UserError(f"{source}: arms.{arm}.config.{error}") from None  # the error begins with its key
    changes: dict[str, Any] = {"max_new_tokens": train.max_new_tokens or place.max_new_tokens}
    if timing:
        changes["completions"] = (timing.warmup_updates + timing.updates) * train.batch_completions
    return RunSpec(
        suite=suite.name,
        purpose="timing" if timing else "train",
        arm=arm,
        algorithm=suite.arms[arm].algorithm,
        config=config,
        task=task,
        task_choice=place.choice,
        task_data=place.data,
        start=place.start,
        start_hash=place.start_hash,
        seed=seed,
        tuning=suite.tuning,
        threads=None if timing else suite.threads,
        train=train.model_copy(update=changes),
        eval=suite.eval,
        timing=timing,
        probes=None if timing or suite.arms[arm].algorithm in PEERS else suite.probes,  # a peer shows no gradient
    )


def _resolve_place(choice: TaskChoice, start: str, source: str, key: str, evaluating: Suite | None = None) -> _Place:
    """Look a task and its start model up; `key` is that of the task, `evaluating` the suite that evaluates there."""
    from ppo_vs_grpo.benchmarks.models import reward, store
    from ppo_vs_grpo.tasks import make
    from ppo_vs_grpo.tasks.splits import data_hash, heldout

    try:
        task = make(choice.task, choice.options)
        choice = choice.model_copy(update={"options": reward.at_commits(task, choice.options)})
        data = data_hash(task)
    except UserError as error:
        raise UserError(f"{source}: {key}.{error}") from None  # the error begins with its key
    if evaluating and hasattr(task, "rows"):
        try:
            heldout(task, "validation" if evaluating.tuning else "heldout", evaluating.eval.prompts)
        except UserError as error:
            raise UserError(f"{source}: {error}") from None  # the error begins with its key
    try:
        found = store.find(start, choice.task, choice.options)
        quantization = store.admit(found)
    except UserError as error:
        own = key.startswith("timing.") or (evaluating and evaluating.tasks[key.partition(".")[2]].start)
        at = f"{key}." if own else ""
        raise UserError(f"{source}: {at}{error}") from None  # the error begins with its key
    return _Place(choice, data, task.max_new_tokens, found.name, found.digest, quantization)


def _check_trained(place: _Place, arms: Mapping[str, tuple[dict[str, Any], TrainConfig]], source: str) -> None:
    """Refuse arms that would train what cannot be trained in the place's start model."""
    from ppo_vs_grpo.benchmarks.models.admission import check_trained

    for label, (_, train) in arms.items():
        try:
            check_trained(place.start, place.start_quantization, train.lora_rank)
        except UserError as error:
            raise UserError(f"{source}: arms.{label}.{error}") from None  # the error begins with its key


def _check_claims(suite: Suite, source: str) -> None:
    if suite.claims:
        from ppo_vs_grpo.benchmarks.analysis.judge.claims import check

        try:
            check({name: claim.model_dump() for name, claim in suite.claims.items()})
        except UserError as error:
            raise UserError(f"{source}: {error}") from None  # the error begins with its key


def _resolve_arm(
    shared: TrainConfig, label: str, arm: Arm, max_new_tokens: int, source: str
) -> tuple[dict[str, Any], TrainConfig]:
    """An arm's own settings with every default, and the shared ones with the arm's differences."""
    from ppo_vs_grpo.algorithms import entry, find
    from ppo_vs_grpo.benchmarks.peers.settings import check_settings, settings_of

    place = f"arms.{label}"
    try:
        name = settings_of(arm.algorithm)
        algorithm, declared = find(name), entry(name)
    except UserError as error:
        raise UserError(f"{source}: {place}.{error}") from None
    _refuse_critic_options(arm, algorithm.Config, f"{source}: {place}")
    try:
        config = algorithm.Config.model_validate(_merged(declared.config, arm.config))
    except ValidationError as error:
        raise explain(error, algorithm.Config, source, f"{place}.config") from None
    try:
        train = TrainConfig.model_validate(shared.model_dump() | declared.train(shared) | arm.train)
    except ValidationError as error:
        raise explain(error, TrainConfig, source, f"{place}.train") from None
    try:
        needs = algorithm(config, train).needs
        check_settings(arm.algorithm, config.model_dump(), train)
    except UserError as error:
        raise UserError(f"{source}: {place}.{error}") from None  # the error begins with its key
    _check_batch(train, needs, max_new_tokens, f"{source}: {place}")
    return config.model_dump(mode="json"), train


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`over` laid on `under`, key by key at every depth."""
    both = {key: _merged(under[key], over[key]) for key in over if isinstance(over[key], dict) and key in under}
    return under | over | both


def _refuse_critic_options(arm: Arm, config: type[Frozen], place: str) -> None:
    for key in ("critic", "value_lam", "value_coef", "value_clip"):
        if key in arm.config and "critic" not in config.model_fields:
            raise UserError(
                f"{place}.config.{key}: {arm.algorithm} has no critic to set; leave the key out, or use ppo "
                "or grpo-value, whose baseline is learned"
            )


def _check_batch(train: TrainConfig, needs: Needs, task_limit: int, place: str) -> None:
    """Refuse a budget, a group or mini-batches that leave nothing to learn from."""
    from ppo_vs_grpo.algorithms.shared.collector import cost

    batch, least = train.batch_completions, cost(train, needs, train.max_new_tokens or task_limit)
    if needs.group and train.group_size < 2:
        raise UserError(
            f"{place}.train.group_size: {train.group_size}: this algorithm compares the completions of one "
            "prompt and needs at least 2"
        )
    if train.completions < least:
        each = f" * (1 + continuations from every step) = {least}" if needs.continuations else f" = {batch}"
        raise UserError(
            f"{place}.train.completions: {train.completions}: less than one update, which takes "
            f"prompts_per_update * group_size{each}"
        )
    if train.mini_batches > batch:
        raise UserError(
            f"{place}.train.mini_batches: {train.mini_batches}: more than the {batch} completions of an update"
        )


def lock_document(suite: Suite, specs: Sequence[RunSpec], changed: Differences | None = None) -> dict[str, Any]:
    """The content of suite.lock.yaml, as `records.lock.document` has it; algorithms' defaults are written out too."""
    written = suite.model_dump(mode="json")
    critics: dict[str, dict[str, str]] = {}
    for spec in specs:
        written["arms"][spec.arm]["config"] = spec.config
        if start := (spec.config.get("critic") or {}).get("start"):
            critics.setdefault(spec.arm, {})[spec.task] = start
    for arm, starts in critics.items():
        own = written["arms"][arm]["config"]
        one = next(iter(starts.values())) if len(set(starts.values())) == 1 else starts
        written["arms"][arm]["config"] = own | {"critic": own["critic"] | {"start": one}}
    if suite.pairs is None:  # locks from before there were pairs stay as they are
        del written["pairs"]
    return document(written, [spec.key for spec in specs], changed or {})
