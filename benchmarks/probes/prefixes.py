"""Places in completions, and the rewards of what follows them."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ppo_vs_grpo.benchmarks.probes.estimates import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """N prefixes of completions, and the rewards of fresh continuations from each.

    `prompt_N` is the prompt's id, `position_N` is t / length in [0, 1) for the prefix before token t. `mean_N` and
    `variance_N` (ddof 1; None with one continuation) are over the `rated_N` continuations that have a reward.
    `value_N` is the critic's V at the prefix, None without a critic.
    """

    prompt_N: Ints
    position_N: Floats
    mean_N: Floats
    variance_N: Floats | None
    rated_N: Ints
    value_N: Floats | None

    @property
    def noise_N(self) -> Floats | None:
        """The variance of `mean_N` as an estimate of the true value: s2 / K."""
        return None if self.variance_N is None else self.variance_N / np.maximum(self.rated_N, 1)

    def at(self, index: NDArray[Any]) -> Prefixes:
        """The prefixes at `index`, in that order, or those where a mask is true."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: x[index] for name, x in held.items() if x is not None})


@dataclass(frozen=True, slots=True, eq=False)
class States:
    """Prefixes that the baselines of some rows read, and the row p * G + g of each; a row may have several."""

    row_M: Ints
    prefixes_M: Prefixes


def summarised(rewards_NK: Floats, value_N: Floats | None, prompt_N: Ints, position_N: Floats) -> Prefixes:
    """Prefixes from the rewards of K continuations (NaN: missing). A mean of fewer than min(2, K) rewards is NaN."""
    rated_N = (~np.isnan(rewards_NK)).sum(1)
    enough_N = rated_N >= min(2, rewards_NK.shape[1])
    mean_N = np.where(enough_N, np.nansum(rewards_NK, 1) / np.maximum(rated_N, 1), np.nan)
    variance_N = None
    if rewards_NK.shape[1] > 1:
        variance_N = np.nansum((rewards_NK - mean_N[:, None]) ** 2, 1) / np.maximum(rated_N - 1, 1)
    return Prefixes(prompt_N, position_N, mean_N, variance_N, rated_N, value_N)
