"""The first and the last step of a predicted rollout stand for those between."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from ppo_vs_grpo.algorithms.shared.rollout.cache import PlaceLayer, PreallocatedLayer
from ppo_vs_grpo.benchmarks.profile.flops import FlopCount


class DecodeSteps:
    """A model's forward pass that decodes the first token of a rollout and the last: those between repeat that output.

    So it does for each lot of rows that start and end together, where not all are sampled at once. The operations of
    those between count as the mean of the two, which is exact: what a step computes grows evenly with its length.
    """

    def __init__(self, real: Callable[..., Any], counting: FlopCount) -> None:
        functools.update_wrapper(self, real)  # callers look at the arguments it takes
        self._real, self._counting = real, counting
        self._taken = self._last = 0
        self._flops: list[int] = []
        self._output: Any = None

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The forward pass, or what it would return."""
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
    """A step's arguments as they are in the last step, in which every row has room for one token more."""
    for layer in layers:
        if isinstance(layer, PlaceLayer):
            layer.reach = layer.capacity - 1
        else:
            layer.length = layer.capacity - 2
    mask = kwargs.get("attention_mask")
    return kwargs if mask is None else kwargs | {"attention_mask": mask.new_ones((len(mask), layers[0].capacity - 1))}
