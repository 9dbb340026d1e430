"""docs/real-models.md: its suite is a suite, and runs' specs come of it with local stand-ins."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml

from checkout import ROOT
from ppo_vs_grpo.tasks import make, rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.dataset import Dataset
from ppo_vs_grpo.tasks.errors import UserError
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
            json.dumps({"question": f"How many are {n} eggs?", "answer": f"They are {n}.\n#### {n}"}) for n in rows
        ]
        Path(file).write_text("\n".join(lines))
    Path("mine.yaml").write_text(text)
    made = [spec for spec in specs(Path("mine.yaml")) if spec.timing is None]
    assert [(spec.arm, spec.seed) for spec in made] == [("ppo-critic", 0), ("grpo", 0), ("ppo-critic", 1), ("grpo", 1)]
    options = yaml.safe_load(text)["tasks"]["mine"]["options"]
    task = make("dataset", options)
    assert isinstance(task, Dataset)
    problem = task.rows("heldout")[0]
    assert problem.prompt.endswith("after ####.")
    assert [task.score(problem, told).passed for told in ("So #### 60", "They are 60.", "#### 61")] == [
        True,
        True,
        False,
    ]
    with pytest.raises(UserError, match=r"the column 'solution'; .* has question, answer, answer_text; rename a"):
        make("dataset", options | {"reward": "trl.rewards:accuracy_reward"})


def test_what_the_page_says_of_trls_reward_is_so() -> None:
    made = rewards.make("trl.rewards:accuracy_reward")
    row = Problem("How many?", {"solution": "They are 60.\n#### 60"})
    completions = ["So \\boxed{60}", "So #### 60", "They are 60.", "So $60$"]
    assert [one.reward for one in made.rate([row] * 4, completions, [()] * 4)] == [1, 0, 0, 0]
