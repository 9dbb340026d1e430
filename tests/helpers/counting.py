"""An environment of verifiers, as its users write them: how many letters has a word?"""

from __future__ import annotations

import time
from typing import Any

import verifiers as vf
from datasets import Dataset


def load_environment(rows: int, brief: float = 0.5, turns: int = 1, by_group: bool = False) -> vf.Environment:
    """The last eight rows are for evaluation; `brief` is the weight of being brief."""
    made = [
        {"question": f"How many letters has {'a' * n}?", "answer": str(n), "info": {"letters": n}}
        for n in range(1, rows + 1)
    ]

    def right(completion: Any, answer: str, info: dict[str, int]) -> float:
        said = completion[-1]["content"]
        if said == "break":
            raise ValueError("it is broken")
        if said == "hang":
            time.sleep(60)
        return float(said.strip() == answer == str(info["letters"]))

    async def brevity(completion: Any) -> float:
        return 1 / (1 + len(completion[-1]["content"]))

    def ranks(completions: Any) -> list[float]:
        return [0.0 for _ in completions]

    brevity.__name__ = "brief"
    functions, weights = ([ranks], [1.0]) if by_group else ([right, brevity], [1.0, brief])
    given: dict[str, Any] = {
        "dataset": Dataset.from_list(made[:-8]),
        "eval_dataset": Dataset.from_list(made[-8:]),
        "system_prompt": "Answer with a number.",
        "rubric": vf.Rubric(funcs=functions, weights=weights),
    }
    if turns == 1:
        return vf.SingleTurnEnv(**given)

    class Talk(vf.MultiTurnEnv):  # type: ignore[misc]
        async def env_response(self, messages: Any, state: Any, **kwargs: Any) -> Any:
            return []

    return Talk(max_turns=turns, **given)
