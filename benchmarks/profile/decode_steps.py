"""The first and the last decode step of a predicted rollout, which stand for all steps."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ppo_vs_grpo.algorithms.shared.rollout.cache import PlaceLayer, PreallocatedLayer
from ppo_vs_grpo.benchmarks.profile.flops import FlopCount


class DecodeSteps:
    """A model's forward pass that runs only a rollout's first and last decode step; steps between repeat that output.

    If not all rows are sampled at once, each lot of rows that start and end together has its own two steps. Steps
    between count the mean operations of the two, which is exact: a step's operations grow linearly with its length.
    """

    def __init__(self, real: Callable[..., Any], counting: FlopCount) -> None:
        functools.update_wrapper(self, real)  # callers inspect the arguments that it takes
        self._real, self._counting = real, counting
        self._taken = self._last = 0
        self._flops: list[int] = []
        self._output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the forward pass, or return what it would return."""
        layers = getattr(kwargs.get("past_key_values"), "layers", [])
        known = all(isinstance(layer, PreallocatedLayer | PlaceLayer) for layer in layers)
        if not layers or layers[0].get_seq_length() == 0 or not known:
            self._taken = 0
            return self._real(*args, **kwargs)
        self._taken = self._taken % self._last + 1 if self._taken else 1
        if self._taken == 1:
            self._last, self._flops = layers[0].capacity - layers[0].get_seq_length() - 1, []
        if self._taken > 2:
            self._counting.add("rollout", sum(self._flops) // 2)
            output, self._output = self._output, self._output if self._taken < self._last else None
            return output
        if self._taken == 2:
            kwargs = _jumped(kwargs, layers)
        before = self._counting.count("rollout")
        output = self._real(*args, **kwargs)
        self._flops.append(self._counting.count("rollout") - before)
        if self._taken == 2 and self._last > 2:
            self._output = type(output)(logits=output.logits)
        return output


def _jumped(kwargs: dict[str, Any], layers: Sequence[PreallocatedLayer | PlaceLayer]) -> dict[str, Any]:
    """A step's arguments changed to those of the last step, in which every row has room for one more token."""
    for layer in layers:
        if isinstance(layer, PlaceLayer):
            layer.reach = layer.capacity - 1
        else:
            layer.length = layer.capacity - 2
    mask = kwargs.get("attention_mask")
    return kwargs if mask is None else kwargs | {"attention_mask": mask.new_ones((len(mask), layers[0].capacity - 1))}
