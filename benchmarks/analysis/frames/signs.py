"""Signs that the numbers of a training run went wrong, with the update in which each came.

They are read from the records of updates, change no number, and stand beside the verdicts. A run that shows one still
counts: a reader decides what a lead over an arm that broke is worth.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.arms import in_order
from ppo_vs_grpo.benchmarks.analysis.frames.results import IDENTITY, Results, kept

GROWN = 10.0
"""How many times the most of a run's first tenth is another size: noise stays below threefold."""

LASTING = 3
"""Updates in a row that make a sign of what one update may show by chance."""

ALIKE_NATS = 0.01
"""Entropy a token below which a policy says one thing: nine tokens in ten thousand are another."""

ENDLESS = 0.1
"""The share of completions that end by themselves, where half or more did at first."""

COLUMNS = ("task", "arm", "seed", "sign", "first_update", "updates", "at_the_end")


@dataclass(frozen=True, slots=True)
class Sign:
    """What goes wrong, in words; the metric that shows it; of its values in order whether each does, and for how long.

    `seen` gets one value an update, NaN where an update has none.
    """

    words: str
    metric: str
    seen: Callable[[np.ndarray], np.ndarray]
    lasting: int = LASTING


def _grown(values_U: np.ndarray) -> np.ndarray:
    """Whether a value is beyond GROWN times what is usual: the first half's median, or the first tenth's largest.

    The first tenth has LASTING updates at least. It says little where a run begins with nothing to learn from.
    """
    half, tenth = (values_U[:count] for count in ((len(values_U) + 1) // 2, max(len(values_U) // 10, LASTING)))
    if not np.isfinite(half).any():
        return np.zeros(len(values_U), dtype=bool)
    usual = max([np.nanmedian(half), *tenth[np.isfinite(tenth)]])
    return np.asarray(values_U > GROWN * usual)


SIGNS = (
    Sign("a loss or gradient was not finite", "skipped_steps", lambda x: np.diff(x, prepend=0) > 0, lasting=1),
    Sign("the gradient grew tenfold", "grad_norm", _grown),
    Sign("the critic's loss grew tenfold", "value_loss", _grown),
    Sign("the policy said one thing", "entropy", lambda x: x < ALIKE_NATS),
    Sign("completions stopped ending", "ended_fraction", lambda x: (x < ENDLESS) & (x[0] >= 0.5)),
    Sign("all rewards were equal", "reward_std", lambda x: x == 0),
)
"""In the order in which a report names them."""


@kept
def signs(results: Results) -> pd.DataFrame:
    """A row per training run and sign: the update in which it came first, in how many it was, whether in the last."""
    rows = []
    for identity, run in results.metrics.groupby(list(IDENTITY), sort=False):
        of_run = dict(zip(IDENTITY, identity, strict=True))
        run = run.sort_values("update", kind="stable")
        for sign in SIGNS:
            if sign.metric not in run or run[sign.metric].isna().all():
                continue
            seen_U = lasting(sign.seen(run[sign.metric].to_numpy(float)), sign.lasting)
            if seen_U.any():
                first = int(run["update"].iloc[int(seen_U.argmax())])
                row = {name: of_run[name] for name in ("task", "arm", "seed")} | {"sign": sign.words}
                rows.append(row | {"first_update": first, "updates": int(seen_U.sum()), "at_the_end": bool(seen_U[-1])})
    return in_order(results, pd.DataFrame(rows, columns=list(COLUMNS)))


def lasting(seen_U: np.ndarray, updates: int) -> np.ndarray:
    """Which updates are part of a row of at least so many in which something is seen."""
    kept_U = np.zeros(len(seen_U), dtype=bool)
    edges = np.flatnonzero(np.diff(np.concatenate([[False], seen_U, [False]]).astype(int)))
    for begin, end in zip(edges[::2], edges[1::2], strict=True):
        kept_U[begin:end] = end - begin >= updates
    return kept_U


def sentences(results: Results) -> list[str]:
    """A line per task, arm and sign, such as `recall, ppo: all rewards were equal in 2 of 8 runs, first in update 40`.

    One line says so where no run shows any.
    """
    found = signs(results)
    if results.metrics.empty:
        return []
    if found.empty:
        return ["None of these was seen in any run: " + "; ".join(sign.words for sign in SIGNS) + "."]
    runs = results.metrics.groupby(["task", "arm"])["key"].nunique().to_dict()
    lines = []
    for (task, arm, sign), rows in found.groupby(["task", "arm", "sign"], sort=False):
        end = int(rows["at_the_end"].sum())
        still = f", and still at the end of {end}" if end else ""
        lines.append(
            f"{task}, {arm}: {sign} in {len(rows)} of {runs[task, arm]} runs, first in update "
            f"{rows['first_update'].min()}{still}."
        )
    return lines
