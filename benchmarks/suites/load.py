"""From a suite's name and `--set` options to the suite; every mistake in its text ends here."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ppo_vs_grpo.benchmarks.records.yaml_text import parse_yaml
from ppo_vs_grpo.benchmarks.suites import SUITES, suite_names
from ppo_vs_grpo.benchmarks.suites.mistakes import explain
from ppo_vs_grpo.benchmarks.suites.suite import Suite
from ppo_vs_grpo.tasks.errors import UserError, nearest


def find_suite(name_or_path: str) -> Path:
    """The YAML file of a suite, by name or path. Raises UserError if there is none."""
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


def load_suite(path: Path, overrides: Sequence[str] = (), name: str | None = None) -> Suite:
    """Read a suite, or the suite of a lock file, and apply `key=value` overrides.

    It is called `name`, else as it says, else as the file's stem.
    """
    source = source_of(path, overrides)
    data = read_yaml(path)
    if isinstance(data.get("suite"), dict) and "keys" in data:
        data = data["suite"]
    _spell_out(data)
    for override in overrides:
        _apply(data, override)
    _spell_out(data)
    called = {"name": path.stem} | data | ({} if name is None else {"name": name})
    try:
        return Suite.model_validate(called)
    except ValidationError as error:
        raise explain(error, Suite, source) from None


def read_yaml(path: Path) -> dict[str, Any]:
    """What a suite's file, or a lock file, holds. Raises UserError for what is no text, no YAML or no mapping."""
    data = read_document(path)
    if not isinstance(data, dict):
        raise UserError(f"{path}: holds a {type(data).__name__}; a suite is a mapping with the keys {_keys()}")
    return data


def read_document(path: Path) -> Any:
    """What a YAML file holds, whatever it is. Raises UserError for what is no text or no YAML."""
    try:
        return parse_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text ({error})") from None


def _keys() -> str:
    return ", ".join(Suite.model_fields)


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
    place[last] = parse_yaml(text, f"--set {override}")
