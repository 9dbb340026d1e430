"""How fast and how large arms are on equal work: the cells of the timing pass, peers beside what they stand for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from ppo_vs_grpo.benchmarks.analysis.frames.costs import SECONDS
from ppo_vs_grpo.benchmarks.analysis.frames.results import Results, kept
from ppo_vs_grpo.benchmarks.peers import PEERS

COLUMNS = (
    *("cell", "arm", "repeat", "start", "new_tokens", "lengths", "completions", "group_size", "epochs"),
    *("step_s", "tokens", "peak_mb", "contended"),
)

RATIOS = (
    *("cell", "arm", "peer", "n", "step_s", "peer_step_s", "times", "least", "most"),
    *("peak_mb", "peer_peak_mb", "memory_times", "tokens_times", "note"),
)


@kept
def speed_runs(results: Results) -> pd.DataFrame:
    """A row per run of a cell: what the cell asks for, the median seconds of a step, its real tokens, its peak memory.

    A step is one update: rollout, reward, learning. Warm-up is left out. `tokens` are those that the policy sampled in
    it, a mean; `lengths` are ragged where rows end early. `peak_mb` is the process's, libraries included.
    """
    measured = results.speed[~results.speed["warmup"].astype(bool)]
    runs = results.runs.set_index("key")
    peaks = results.speed_memory[results.speed_memory["phase"] == "process"].set_index("key")["bytes"]
    rows = []
    for key in map(str, measured["key"].unique()):
        run = measured[measured["key"] == key]
        cell, arm, repeat = run[["task", "arm", "seed"]].iloc[0]
        spec = results.specs[key]
        train, options = spec["train"], spec["task_choice"]["options"]
        completions = int(train["prompts_per_update"]) * int(train["group_size"])
        rows.append(
            {
                **{"cell": cell, "arm": arm, "repeat": int(repeat), "start": spec["start"]},
                "new_tokens": int(train["max_new_tokens"]),
                "lengths": "ragged" if options.get("mean_tokens") else "full",
                **{"completions": completions, "group_size": int(train["group_size"]), "epochs": int(train["epochs"])},
                "step_s": float(run[SECONDS].sum(axis=1).astype(float).median()),
                "tokens": float(run["completion_tokens_mean"].astype(float).mean()) * completions,
                "peak_mb": float(peaks.get(key, np.nan)) / 1e6,
                "contended": bool(runs["contended"][key]),
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def pairs(results: Results) -> list[tuple[str, str]]:
    """Each arm that is a peer, with the suite's first arm of the algorithm that it stands for."""
    algorithms = {arm: str(results.suite["arms"][arm]["algorithm"]) for arm in results.arms}
    found = []
    for peer, name in algorithms.items():
        own = [arm for arm, algorithm in algorithms.items() if name in PEERS and algorithm == PEERS[name].stands_for]
        found += [(own[0], peer)] if own else []
    return found


@kept
def ratios(results: Results) -> pd.DataFrame:
    """A row per cell and pair: how many times the arm's seconds and bytes its peer takes.

    A ratio is taken within a repeat; shown are the median over repeats and the extremes. Repeats in which either run
    shared the machine count only where there is no other, and the note says so; it also says why there is none.
    """
    runs, rows = speed_runs(results), []
    for cell in results.cells:
        asked = results.timed_in(cell)
        for own, peer in pairs(results):
            if not {own, peer} <= set(asked):
                continue
            arms = [runs[(runs["cell"] == cell) & (runs["arm"] == arm)].set_index("repeat") for arm in (own, peer)]
            both = arms[0].add_suffix("_own").join(arms[1].add_suffix("_peer"), how="inner")
            alone = both[~(both["contended_own"] | both["contended_peer"])]
            used = alone if len(alone) else both
            seconds = used["step_s_peer"] / used["step_s_own"]
            rows.append(
                {
                    **{"cell": cell, "arm": own, "peer": peer, "n": len(used)},
                    **{"step_s": used["step_s_own"].median(), "peer_step_s": used["step_s_peer"].median()},
                    **{"times": seconds.median(), "least": seconds.min(), "most": seconds.max()},
                    **{"peak_mb": used["peak_mb_own"].median(), "peer_peak_mb": used["peak_mb_peer"].median()},
                    "memory_times": (used["peak_mb_peer"] / used["peak_mb_own"]).median(),
                    "tokens_times": (used["tokens_peer"] / used["tokens_own"]).median(),
                    "note": "; ".join(_notes(results, cell, (own, peer), len(both), len(alone))),
                }
            )
    return pd.DataFrame(rows, columns=list(RATIOS))


def _notes(results: Results, cell: str, pair: tuple[str, str], both: int, alone: int) -> Iterator[str]:
    """Why a ratio is missing, or counts in no sentence."""
    if both and not alone:
        yield "contended"
    if both:
        return
    of_cell = results.runs[(results.runs["task"] == cell) & results.runs["arm"].isin(pair)]
    failed = of_cell[of_cell["status"] == "failed"]
    for arm, error in failed.drop_duplicates("arm")[["arm", "error"]].itertuples(index=False):
        yield f"{arm} failed: {error}"
    if failed.empty:
        yield "not run"


def sentences(results: Results) -> list[str]:
    """For each pair one sentence: its ratios over the cells that were measured alone on the machine."""
    if not results.cells:
        return []
    table = ratios(results)
    said = []
    for own, peer in pairs(results):
        here = table[(table["peer"] == peer) & table["times"].notna() & (table["note"] == "")]
        if here.empty:
            said.append(f"{own} and {peer}: no cell was measured alone on the machine, so no ratio.")
            continue
        ends = dict.fromkeys(f"{end:.2f}" for end in (here["times"].min(), here["times"].max()))
        said.append(
            f"On equal work {peer} takes {' to '.join(ends)} times the seconds of {own} "
            f"({_many(len(here), 'cell')}, medians of {_many(int(here['n'].min()), 'repeat')} or more)."
        )
    return said


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'s' * (count != 1)}"
