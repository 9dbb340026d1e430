"""A run's folder and a start model beside it."""

from __future__ import annotations

from pathlib import Path

from copying import gpt2
from ppo_vs_grpo.benchmarks.models import tiny
from ppo_vs_grpo.benchmarks.suites.run_spec import RunSpec


def prepared(tmp_path: Path, spec: RunSpec, **tokens: None) -> tuple[Path, Path]:
    """A run's folder, and a GPT-2 shape with learned positions whose tokenizer lacks the named tokens."""
    model, folder = tmp_path / "model", tmp_path / "run"
    gpt2(vocab_size=len(tiny.CHARACTERS) + 4).save_pretrained(model)
    tokenizer = tiny.tokenizer()
    for name, value in tokens.items():
        setattr(tokenizer, name, value)
    tokenizer.save_pretrained(model)
    folder.mkdir()
    (folder / "spec.json").write_text(spec.model_dump_json())
    return folder, model
