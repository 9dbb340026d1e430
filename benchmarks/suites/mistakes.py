"""Say what is wrong with a user's input: where it stands, which key, which value, what would be right."""

from __future__ import annotations

from collections.abc import Iterable
from types import NoneType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from ppo_vs_grpo.tasks.errors import UserError, nearest


def explain(error: ValidationError, model: type[BaseModel], source: str, prefix: str = "") -> UserError:
    """The first of pydantic's errors about `model` as one line; `prefix` is the key under which its data stands."""
    first = error.errors(include_url=False)[0]
    place = [part for part in first["loc"] if part != "[key]"]
    key = ".".join([prefix] * bool(prefix) + [str(part) for part in place])
    value = first["input"]
    message = first["msg"].removeprefix("Value error, ").removeprefix("Input ")
    if first["type"] == "extra_forbidden":
        return UserError(f"{source}: {key}: unknown key; {nearest(place[-1], fields_at(model, place[:-1]))}")
    if first["type"] == "missing":
        return UserError(f"{source}: {key}: missing")
    if first["type"] == "model_type":
        message = f"should be a mapping with the keys {', '.join(fields_at(model, place))}"
    if not key or (isinstance(value, dict) and len(value) > 3):
        return UserError(f"{source}: {key + ': ' if key else ''}{message}")
    return UserError(f"{source}: {key}: {value!r}: {message}")


def fields_at(model: type[BaseModel], place: Iterable[object]) -> list[str]:
    """The keys that a model's data may have at a place inside it; empty where it is not a model's."""
    kind: Any = model
    for part in place:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            field = kind.model_fields.get(str(part))
            kind = field.annotation if field else None
        else:
            kind = (get_args(kind) or (None,))[-1]
        if NoneType in get_args(kind):
            kind = next(option for option in get_args(kind) if option is not NoneType)
    return list(kind.model_fields) if isinstance(kind, type) and issubclass(kind, BaseModel) else []
