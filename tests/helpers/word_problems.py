"""Rows in the formats of GSM8K and MATH, with the calculator annotations and boxes of the originals."""

from __future__ import annotations

import json
from pathlib import Path

GSM8K = [
    {
        "question": f"A baker fills {n} boxes with 4 rolls each and then sells 3 rolls. How many rolls are left?",
        "answer": f"He has {n}*4=<<{n}*4={4 * n}>>{4 * n} rolls.\n"
        f"{4 * n}-3=<<{4 * n}-3={4 * n - 3}>>{4 * n - 3} are left.\n#### {4 * n - 3:,}",
    }
    for n in range(240, 280)
]

MATH = [
    {
        "problem": f"What is $\\frac{{{n}}}{{{n + 1}}}$ of $\\sqrt{{2}}$?",
        "level": f"Level {1 + n % 5}",
        "type": "Prealgebra",
        "solution": f"We get $\\frac{{{n}}}{{{n + 1}}}\\sqrt{{2}}$. "
        f"So the answer is $\\boxed{{\\frac{{{n}\\sqrt{{2}}}}{{{n + 1}}}}}$.",
    }
    for n in range(2, 30)
]


def written(path: Path, rows: list[dict[str, str]]) -> str:
    """The path of a JSONL file with the rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return str(path)
