"""Start models from a LoRA adapter: merged once into its base model, so that a run starts from one network.

The KL penalty then refers to the adapted model, and a run's own adapters start from it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.benchmarks.models import admission
from ppo_vs_grpo.benchmarks.models.saved import digest_of, read_files
from ppo_vs_grpo.benchmarks.models.start import Start, built
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    import torch

RECIPE = 1
"""Version of `merge`; part of the content hash."""

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"

ASKED = 16
"""Tokens on which a merged model is compared with what was merged."""

TOLERANCE = 1e-3
"""The largest difference of a logit, as a share of the largest logit: float32 stays far below."""


def is_adapter(path: Path) -> bool:
    """Whether the path is a folder as peft's save_pretrained writes it."""
    return (path / CONFIG).is_file()


def find(start: str, folder: Path, find_base: Callable[[str], Start], cache: Path) -> Start:
    """The model of an adapter; `find_base` looks its base model up by name.

    UserError where it is no LoRA adapter of a language model, where its weights are pickled, where peft is missing, and
    where the base model cannot be found.
    """
    said = _said(start, folder)
    kind, task = said.get("peft_type"), said.get("task_type")
    if kind != "LORA" or task not in (None, "CAUSAL_LM"):
        raise UserError(f"start: {start!r}: no LoRA adapter of a causal language model (peft_type {kind}, {task})")
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").is_file()
        why = "adapter_model.bin is pickled, and reading it would run what it holds" if pickled else "it has no weights"
        raise UserError(f"start: {start!r}: {why}; save the adapter as {WEIGHTS}")
    if find_spec("peft") is None:
        raise UserError(f"start: {start!r}: an adapter needs peft, not installed: pip install 'ppo-vs-grpo[lora]'")
    base = _base(start, said, find_base)
    files = [folder / CONFIG, *read_files(folder)]
    made_of = {"recipe": RECIPE, "adapter": digest_of(folder, files, cache), "base": base.digest}
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
    name = folder.absolute().name
    return Start(start, digest, Path(f"{name}.{digest}"), partial(_make, start, folder.absolute(), base))


def _said(start: str, folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"start: {start!r}: {CONFIG} cannot be read: {error}") from None


def _base(start: str, said: dict[str, Any], find_base: Callable[[str], Start]) -> Start:
    name, revision = said.get("base_model_name_or_path"), said.get("revision")
    if not isinstance(name, str) or is_adapter(Path(name).expanduser()):
        raise UserError(f"start: {start!r}: base_model_name_or_path: {name!r}: should name a model")
    try:
        return find_base(f"{name}@{revision}" if revision else name)
    except UserError as error:
        why = str(error).removeprefix("start: ")
        raise UserError(f"start: {start!r}: base_model_name_or_path: {why}") from None


def _make(start: str, folder: Path, base: Start, into: Path, cache: Path) -> None:
    base_folder = built(base, cache)
    if method := admission.quantization(base_folder):
        raise UserError(
            f"start: {start!r}: the weights of its base model are quantised ({method}), and a merge would round them; "
            "name the model as it was before quantisation as base_model_name_or_path"
        )
    merge(start, folder, base_folder, into)
    admission.check(start, into)


def merge(start: str, folder: Path, base_folder: Path, into: Path) -> None:
    """Save the base model with the adapter merged into it, in float32: bfloat16 would round small changes away.

    The tokenizer is the adapter's where it has one, else the base model's.
    """
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    base = AutoModelForCausalLM.from_pretrained(base_folder, dtype=torch.float32)
    try:
        adapted = PeftModel.from_pretrained(base, folder).eval()
    except (RuntimeError, ValueError) as error:
        why = str(error).strip().splitlines()[0]
        raise UserError(f"start: {start!r}: this adapter does not fit its base model: {why}") from error
    rows = min(ASKED, base.config.get_text_config().vocab_size)
    before_TV = _logits(adapted, rows)
    merged = adapted.merge_and_unload()
    if not (_logits(merged, rows) - before_TV).abs().max() <= TOLERANCE * before_TV.abs().max():
        raise UserError(
            f"start: {start!r}: merged into its base model the adapter gives other logits, as where it adapts an "
            "embedding that is tied; untie the base model's embeddings before training an adapter of them"
        )
    merged.save_pretrained(into)
    own = any(path for pattern in admission.TOKENIZER for path in folder.glob(pattern))
    AutoTokenizer.from_pretrained(folder if own else base_folder).save_pretrained(into)


def _logits(model: torch.nn.Module, rows: int) -> torch.Tensor:
    """Logits of the first tokens of the vocabulary, one after another."""
    import torch

    with torch.no_grad():
        logits_TV: torch.Tensor = model(input_ids=torch.arange(rows)[None]).logits[0]
    return logits_TV
