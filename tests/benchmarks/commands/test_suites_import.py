"""A TRL configuration imported by the command."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from checkout import ROOT
from command import mistake
from ppo_vs_grpo.benchmarks.__main__ import app
from ppo_vs_grpo.benchmarks.suites.load import load_suite
from ppo_vs_grpo.tasks.errors import UserError

EXAMPLE = ROOT / "tests/helpers/data/trl_grpo.yaml"


@pytest.mark.parametrize(("option", "name"), [((), "trl_grpo-suite"), (("--name", "mine"), "mine")])
def test_a_configuration_becomes_a_suite_and_its_notes_are_printed(
    option: tuple[str, ...], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["import-trl", str(EXAMPLE), *option])
    assert done.exit_code == 0, done.exception
    first, blank, head, *notes = done.output.splitlines()
    assert first == f"wrote {name}.yaml: ppo-critic and grpo; next: ppo-vs-grpo show {name}.yaml"
    assert (blank, head) == ("", "What is different there, or has no counterpart:")
    assert "- lora_alpha 16: 2 x lora_r = 64 here" in notes
    assert load_suite(Path(f"{name}.yaml")).name == name
    comments = [line.removeprefix("# ") for line in Path(f"{name}.yaml").read_text().splitlines() if line[:1] == "#"]
    assert " ".join(" ".join(comments).split()).endswith(" ".join(notes))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kept", "kept.yaml: is there already; choose another name, or delete it"),
        ("core", "import-trl --name core: a suite of the package is called so; choose another name, such as my-core"),
        ("a.b", "import-trl --name a.b: a suite's name has letters, digits, _, + and - only, as in my-suite"),
    ],
)
def test_nothing_is_overwritten(name: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("kept.yaml").write_text("kept")
    refused = CliRunner().invoke(app, ["import-trl", str(EXAMPLE), "--name", name])
    assert isinstance(refused.exception, UserError)
    assert str(refused.exception) == says
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_a_mistake_in_the_file_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    path = tmp_path / "trl.yaml"
    path.write_text("learning_rat: 1e-6")
    said = mistake("import-trl", str(path))
    assert said == f"error: {path}: learning_rat: TRL's GRPO knows no such key; did you mean 'learning_rate'?"
    gone = tmp_path / "none.yaml"
    assert mistake("import-trl", str(gone)).startswith(f"error: {gone}: cannot be read as UTF-8 text (")
