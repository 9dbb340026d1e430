"""Each causal type of the library, as a small random model: right, or refused by name; the page says which."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from checkout import ROOT
from families import FAMILIES
from family_review import review

PAGE = Path(ROOT) / "docs" / "models.md"
LINE = re.compile(r"^\| ([\w-]+) \| [A-Zx]\w+ \|.*\|$", re.MULTILINE)


def lines() -> dict[str, str]:
    """The page's row of each type."""
    return {found[1]: found[0] for found in LINE.finditer(PAGE.read_text())}


def test_the_page_has_each_type_once_in_order() -> None:
    assert [found[1] for found in LINE.finditer(PAGE.read_text())] == sorted(FAMILIES)


@pytest.mark.parametrize("kind", sorted(FAMILIES))
def test_a_type_is_right_or_refused_as_the_page_says(kind: str) -> None:
    row = review(kind)
    assert row.line() == lines()[kind]
    if row.reads in ("packed", "padded"):
        assert (row.places, row.head, row.critic, row.bfloat16) == ("yes",) * 4
    else:
        assert row.class_name in row.reads
