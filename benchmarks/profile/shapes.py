"""The models that a prediction can be about, by shape."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from transformers import AutoConfig, PretrainedConfig

from ppo_vs_grpo.tasks.errors import UserError, nearest


def shapes() -> dict[str, dict[str, Any]]:
    """Well-known open models by name, with the fields of config.json that determine their shape."""
    text = files("ppo_vs_grpo.benchmarks.profile").joinpath("shapes.yaml").read_text("utf-8")
    loaded: dict[str, dict[str, Any]] = yaml.safe_load(text)
    return loaded


def shape(name: str) -> PretrainedConfig:
    """The config of a well-known model. Raises UserError for an unknown name."""
    known = shapes()
    if name not in known:
        raise UserError(f"model: unknown {name!r}; {nearest(name, known)}")
    config: PretrainedConfig = AutoConfig.for_model(**known[name])
    return config


def read_config(model: str) -> PretrainedConfig:
    """The config of a known shape, of a model's folder or of a config.json. Nothing is downloaded."""
    path = Path(model)
    if not path.exists():
        return shape(model)
    try:
        config: PretrainedConfig = AutoConfig.from_pretrained(path, local_files_only=True)
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"--model {model}: no config of a Hugging Face model ({str(error).splitlines()[0]})") from None
    return config
