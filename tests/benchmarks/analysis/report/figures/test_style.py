"""Colours: the hue is the family, and people who see no red or no green tell the arms apart."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from ppo_vs_grpo.algorithms import ALGORITHMS
from ppo_vs_grpo.benchmarks.analysis.report.figures import style
from ppo_vs_grpo.benchmarks.suites.load import find_suite, load_suite

SIGHT = {
    "all cones": np.eye(3),
    "no red cones": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "no green cones": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
}
"""Machado, Oliveira and Fernandes (2009), severity 1, on linear sRGB."""
XYZ = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
WHITE = np.array([0.95047, 1.0, 1.08883])
LEAST = 15.0
"""Distance in CIELAB below which two thin lines look alike; neighbouring colours of a legend want 10 or more."""


def lab(colour: str, sight: np.ndarray) -> np.ndarray:
    """A colour in CIELAB (D65) as somebody with this sight sees it."""
    encoded = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    linear = np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)
    relative = XYZ @ np.clip(sight @ linear, 0, 1) / WHITE
    f = np.where(relative > (6 / 29) ** 3, np.cbrt(relative), relative / (3 * (6 / 29) ** 2) + 4 / 29)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def apart(first: str, second: str) -> float:
    """The distance of two colours for whoever tells them apart worst."""
    return float(min(np.linalg.norm(lab(first, sight) - lab(second, sight)) for sight in SIGHT.values()))


def test_distances_are_those_of_cielab() -> None:
    assert lab("#FFFFFF", SIGHT["all cones"]) == pytest.approx([100, 0, 0], abs=0.02)
    assert lab("#FF0000", SIGHT["all cones"]) == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert apart("#000000", "#FFFFFF") == pytest.approx(100, abs=0.02)
    assert apart("#C00000", "#5A5A00") < LEAST  # a red and an olive are one to some


def looks(algorithms: dict[str, str]) -> list[tuple[str, str, object]]:
    """Each arm with its colour and line."""
    colours = style.arm_colours(algorithms)
    return [(arm, colour, style.line(colour)["linestyle"]) for arm, colour in colours.items()]


@pytest.mark.parametrize("suite", ["core", "claims", "family", "peers", "attribution", "memory"])
def test_arms_shown_together_differ_in_their_line_or_clearly_in_colour(suite: str) -> None:
    loaded = load_suite(find_suite(suite))
    algorithms = {label: arm.algorithm for label, arm in loaded.arms.items()}
    for (a, first, line), (b, second, other) in itertools.combinations(looks(algorithms), 2):
        assert line != other or apart(first, second) >= LEAST, (a, b)


def test_every_pair_of_colours_with_one_line_is_told_apart() -> None:
    every = [look for family in style.FAMILIES.values() for look in family]
    for (first, line), (second, other) in itertools.combinations(every, 2):
        assert line != other or apart(first, second) >= LEAST, (first, second)


def test_a_variants_hue_is_its_familys() -> None:
    families = {name: {colour for colour, _ in looks} for name, looks in style.FAMILIES.items()}
    arms = {
        "a": "grpo",
        "b": "trl-ppo",
        "c": "dr-grpo",
        "d": "ppo-critic",
        "e": "rloo",
        "f": "vine-ppo",
        "g": "grpo-value",
    }
    colours = style.arm_colours(arms)
    found = {arm: next(name for name, held in families.items() if colours[arm] in held) for arm in arms}
    assert found == {"a": "grpo", "b": "ppo", "c": "grpo", "d": "ppo", "e": "other", "f": "ppo", "g": "grpo"}


def test_the_first_of_each_family_has_its_own_colour_in_any_company() -> None:
    assert style.arm_colours({"b": "grpo", "a": "ppo"}) == {"b": "#D55E00", "a": "#0072B2"}
    assert style.arm_colours({"ppo": "ppo-critic", "x": "rloo", "trl": "trl-ppo"})["ppo"] == "#0072B2"
    cross = style.arm_colours({"grpo-value": "grpo-value", "grpo": "grpo", "ppo-critic": "ppo-critic", "ppo": "ppo"})
    assert (cross["ppo"], cross["grpo"]) == ("#0072B2", "#D55E00")
    assert list(cross) == ["grpo-value", "grpo", "ppo-critic", "ppo"]
    many = style.arm_colours(
        {"rloo": "rloo", "one": "ppo", "two": "ppo", "grpo": "grpo", **{f"x{i}": "x" for i in range(8)}}
    )
    assert (many["one"], many["grpo"]) == ("#0072B2", "#D55E00")
    assert len(set(many.values())) == 12


def test_every_algorithm_has_a_colour_of_its_own() -> None:
    colours = style.arm_colours({name: name for name in ALGORITHMS})
    assert len(set(colours.values())) == len(ALGORITHMS)
