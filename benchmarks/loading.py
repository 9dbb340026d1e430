"""From a suite's name and `--set` options to the runs it asks for; every mistake in them ends here."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from ppo_vs_grpo.algorithms.shared.config import Frozen, Needs, TrainConfig
from ppo_vs_grpo.benchmarks.mistakes import explain
from ppo_vs_grpo.benchmarks.spec import Arm, RunSpec, Suite, TaskChoice, Timing
from ppo_vs_grpo.tasks.errors import UserError, nearest

SUITES = Path(__file__).parent / "suites"


class _Loader(yaml.SafeLoader):
    """Safe YAML that reads 5e-4 as a number and refuses a key written twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for position, key in enumerate(keys):
            if key in keys[:position]:
                mark = node.value[position][0].start_mark
                raise yaml.constructor.ConstructorError(None, None, f"key {key!r} twice", mark)
        return super().construct_mapping(node, deep)


_EXPONENT = re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$")
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", _EXPONENT, list("-+0123456789"))


def suite_names() -> list[str]:
    """The names of the suites that come with the package."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def find_suite(name_or_path: str) -> Path:
    """The YAML file of a suite given by name or by path; UserError when there is none."""
    if (SUITES / f"{name_or_path}.yaml").is_file():
        return SUITES / f"{name_or_path}.yaml"
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise UserError(
        f"suite {name_or_path!r}: neither a file nor a suite's name; {nearest(name_or_path, suite_names())}"
    )


def source_of(path: Path, overrides: Sequence[str] = ()) -> str:
    """How messages name where a suite's settings stand."""
    return " --set ".join([str(path), *overrides])


def load_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite and apply `key=value` overrides; a missing `name` is the file's stem."""
    source = source_of(path, overrides)
    try:
        data = _parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}; a suite is a mapping with the keys {_keys()}")
    _spell_out(data)
    for override in overrides:
        _apply(data, override)
    _spell_out(data)
    try:
        return Suite.model_validate({"name": path.stem, **data})
    except ValidationError as error:
        raise explain(error, Suite, source) from None


def _keys() -> str:
    return ", ".join(Suite.model_fields)


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise UserError(f"{source}{line}: not YAML ({getattr(error, 'problem', None) or error})") from None


def _spell_out(data: dict[str, Any]) -> None:
    """Turn a list of tasks or arms into the mapping that it stands for; `package.module:Class` is labelled Class."""
    for field, choice in (("tasks", "task"), ("arms", "algorithm")):
        if isinstance(names := data.get(field), list):
            data[field] = {str(name).rpartition(":")[2]: {choice: name} for name in names}


def _apply(data: dict[str, Any], override: str) -> None:
    """Put one `key=value` into a suite's raw data. A new label under tasks or arms needs its whole mapping."""
    key, equals, text = override.partition("=")
    *parents, last = key.strip().split(".")
    if not equals or not all([*parents, last]):
        raise UserError(f"--set {override}: should be KEY=VALUE, as in --set train.completions=640")
    place = data
    for depth, part in enumerate(parents):
        if depth == 1 and parents[0] in ("tasks", "arms") and part not in place:
            raise UserError(f"--set {override}: {parents[0]}.{part}: not in this suite; {nearest(part, place)}")
        if place.get(part) is None:
            place[part] = {}
        place = place[part]
        if not isinstance(place, dict):
            raise UserError(f"--set {override}: {part} is {place!r}, which has no keys of its own")
    place[last] = _parse(text, f"--set {override}")


def resolve(suite: Suite, source: str) -> list[RunSpec]:
    """The suite's runs in the order in which to start them: seed by seed, task by task, arms alternating.

    Then the timing pass: per task the arms forward, then backward, and so on. Algorithms and tasks are loaded
    here and their settings checked, as are the claims' measures; `source` names the suite's file in a message.
    """
    _check_claims(suite, source)
    tasks = {label: _resolve_task(choice, f"{source}: tasks.{label}") for label, choice in suite.tasks.items()}
    digests = {label: _start_digest(suite.start, choice, source) for label, choice in suite.tasks.items()}
    arms = {label: _resolve_arm(suite, label, arm, tasks, source) for label, arm in suite.arms.items()}

    def spec(arm: str, task: str, seed: int, timing: Timing | None = None) -> RunSpec:
        config, train = arms[arm]
        data, max_new_tokens = tasks[task]
        changes: dict[str, Any] = {"max_new_tokens": train.max_new_tokens or max_new_tokens}
        if timing:
            changes["completions"] = (timing.warmup_updates + timing.updates) * train.batch_completions
        return RunSpec(
            suite=suite.name,
            purpose="timing" if timing else "train",
            arm=arm,
            algorithm=suite.arms[arm].algorithm,
            config=config,
            task=task,
            task_choice=suite.tasks[task],
            task_data=data,
            start=suite.start,
            start_hash=digests[task],
            seed=seed,
            tuning=suite.tuning,
            train=train.model_copy(update=changes),
            eval=suite.eval,
            timing=timing,
            probes=None if timing else suite.probes,
        )

    on = {task: [arm for arm in arms if task in suite.runs_on(arm)] for task in tasks}
    specs = [spec(arm, task, seed) for seed in suite.seeds for task in tasks for arm in on[task]]
    if suite.timing:
        for task in tasks:
            timed = [arm for arm in on[task] if arm in (suite.timing.arms or arms)]
            for repeat in range(suite.timing.repeats):
                order = timed[::-1] if repeat % 2 else timed
                specs += [spec(arm, task, repeat, suite.timing) for arm in order]
    return specs


def _check_claims(suite: Suite, source: str) -> None:
    if suite.claims:
        from ppo_vs_grpo.benchmarks.claims import check

        try:
            check({name: claim.model_dump() for name, claim in suite.claims.items()})
        except UserError as error:
            raise UserError(f"{source}: {error}") from None  # the error begins with its key


def _resolve_task(choice: TaskChoice, place: str) -> tuple[str, int]:
    """A task's data hash and its own limit of new tokens."""
    from ppo_vs_grpo.tasks import make
    from ppo_vs_grpo.tasks.splits import data_hash

    try:
        task = make(choice.task, choice.options)
        return data_hash(task), task.max_new_tokens
    except UserError as error:
        raise UserError(f"{place}.{error}") from None  # the error begins with its key


def _start_digest(start: str, choice: TaskChoice, source: str) -> str:
    from ppo_vs_grpo.benchmarks import starts

    try:
        return starts.digest(start, choice)
    except UserError as error:
        raise UserError(f"{source}: {error}") from None  # the error begins with its key


def _resolve_arm(
    suite: Suite, label: str, arm: Arm, tasks: Mapping[str, tuple[str, int]], source: str
) -> tuple[dict[str, Any], TrainConfig]:
    """An arm's own settings with every default, and the shared ones with the arm's differences."""
    from ppo_vs_grpo.algorithms import entry, find

    place = f"arms.{label}"
    try:
        algorithm, declared = find(arm.algorithm), entry(arm.algorithm)
    except UserError as error:
        raise UserError(f"{source}: {place}.{error}") from None
    _refuse_critic_options(arm, algorithm.Config, f"{source}: {place}")
    try:
        config = algorithm.Config.model_validate(_merged(declared.config, arm.config))
    except ValidationError as error:
        raise explain(error, algorithm.Config, source, f"{place}.config") from None
    try:
        train = TrainConfig.model_validate(suite.train.model_dump() | declared.train(suite.train) | arm.train)
    except ValidationError as error:
        raise explain(error, TrainConfig, source, f"{place}.train") from None
    try:
        needs = algorithm(config, train).needs
    except UserError as error:
        raise UserError(f"{source}: {place}.{error}") from None  # the error begins with its key
    _check_batch(train, needs, max(tasks[task][1] for task in suite.runs_on(label)), f"{source}: {place}")
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
    from ppo_vs_grpo.algorithms.shared.collecting import cost

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


def lock_document(suite: Suite, specs: Sequence[RunSpec]) -> dict[str, Any]:
    """What suite.lock.yaml holds: the suite with every default written out, its hash, its runs' keys."""
    written = suite.model_dump(mode="json")
    for spec in specs:
        written["arms"][spec.arm]["config"] = spec.config
    digest = hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()
    keys = [spec.key for spec in specs]
    return {"suite": written, "hash": digest, "keys": keys}
