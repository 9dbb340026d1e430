"""docs/real-models.md: its suite is a suite, and runs' specs come of it with local stand-ins."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from checkout import ROOT
from suite_files import specs
from tiny_models import save_model


def test_the_pages_suite_resolves_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "real-models.md").read_text(encoding="utf-8")
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    assert len(text.splitlines()) <= 20
    monkeypatch.chdir(tmp_path)
    save_model(tmp_path / yaml.safe_load(text)["start"])
    for file, rows in (("train.jsonl", range(60)), ("test.jsonl", range(60, 130))):
        lines = [
            json.dumps({"question": f"How many are {n} eggs?", "solution": f"They are {n}.\n#### {n}"}) for n in rows
        ]
        Path(file).write_text("\n".join(lines))
    Path("mine.yaml").write_text(text)
    made = [spec for spec in specs(Path("mine.yaml")) if spec.timing is None]
    assert [(spec.arm, spec.seed) for spec in made] == [("ppo-critic", 0), ("grpo", 0), ("ppo-critic", 1), ("grpo", 1)]
