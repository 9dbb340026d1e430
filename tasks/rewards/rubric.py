"""An environment of `verifiers`, in its process: its rows, and its rubric's scores of completions."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import os
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Any

_failures: ContextVar[list[str] | None] = ContextVar("failures", default=None)
"""What the rubric logged as errors while it scored the completion of this context."""


def rows_of(environment: str, arguments: dict[str, Any]) -> Callable[[], list[tuple[str]]]:
    """The function that returns, as JSON, an environment's rows and the names of its rubric's functions."""
    loaded = _loaded(environment, json.dumps(arguments, sort_keys=True))

    def rows() -> list[tuple[str]]:
        sets = {"train": loaded.get_dataset(), "evaluation": loaded.build_eval_dataset() or []}
        found = {name: [dict(row) for row in rows] for name, rows in sets.items()}
        return [(json.dumps(found | {"functions": loaded.rubric._get_reward_func_names()}),)]

    return rows


def rubric_of(environment: str, arguments: dict[str, Any]) -> Callable[..., Awaitable[list[tuple[Any, ...]]]]:
    """The function that scores: of each completion the reward, the rubric's functions by name, and what failed."""
    loaded, policy = _loaded(environment, json.dumps(arguments, sort_keys=True)), _policy()
    logging.getLogger("verifiers").addHandler(_Failures(logging.ERROR))

    async def scored(row: dict[str, Any], completion: str) -> tuple[Any, ...]:
        failures: list[str] = []
        _failures.set(failures)
        output = await loaded.run_rollout(row, policy(completion), "policy", {})
        if output["error"]:
            failures.append(str(output["error"]))
        parts = tuple((name, part) for name, part in output["metrics"].items() if name != "num_turns")
        return output["reward"], parts, tuple(failures)

    async def rubric(rows: list[dict[str, Any]], completions: list[str]) -> list[tuple[Any, ...]]:
        return await asyncio.gather(*map(scored, rows, completions))

    return rubric


class _Failures(logging.Handler):
    """Keeps what a rubric logs as an error: there a function that raises gives 0, and only the log tells."""

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the message with the completion that is being scored."""
        if (failures := _failures.get()) is not None:
            failures.append(record.getMessage())


@functools.cache
def _loaded(environment: str, arguments: str) -> Any:
    """The environment made with arguments, given as JSON."""
    os.environ["HF_DATASETS_DISABLE_PROGRESS_BARS"] = "1"  # they would stand between a run's own lines
    try:
        import verifiers as vf
        from verifiers import SingleTurnEnv
    except ImportError:
        raise ImportError("verifiers is not installed: pip install 'ppo-vs-grpo[verifiers]'") from None
    loaded = vf.load_environment(environment, **json.loads(arguments))
    if not isinstance(loaded, SingleTurnEnv):
        raise TypeError(f"{type(loaded).__name__} is no SingleTurnEnv; only environments of one turn can be used")
    if loaded.requires_group_rollouts:
        raise TypeError("its rubric scores groups; only rubrics that score each completion for itself can be used")
    return loaded


def _policy() -> Callable[[str], Any]:
    """The class of a model, as environments see it, whose one answer is a given completion."""
    from verifiers.clients.client import Client
    from verifiers.types import Response, ResponseMessage

    class Policy(Client):  # type: ignore[misc]
        def setup_client(self, config: Any) -> None:
            """There is nothing to set up."""

        async def to_native_tool(self, tool: Any) -> Any:
            return tool

        async def to_native_prompt(self, messages: Any) -> tuple[Any, dict[str, Any]]:
            return messages, {}

        async def get_native_response(self, *args: Any, **kwargs: Any) -> Any:
            return self.client

        async def raise_from_native_response(self, response: Any) -> None:
            """A text is never wrong."""

        async def from_native_response(self, response: str) -> Any:
            said = ResponseMessage(content=response, finish_reason="stop", is_truncated=False)
            return Response(id="", created=0, model="policy", message=said)

        async def close(self) -> None:
            """There is nothing to close."""

    return Policy
