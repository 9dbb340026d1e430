"""Start models that were saved by somebody: a folder as `save_pretrained` writes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from ppo_vs_grpo.tasks.errors import UserError

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
READ = (
    *WEIGHTS, "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab*", "merges.txt", "*.model", "chat_template*",
)  # fmt: skip
"""The files that make a start model, as patterns: weights, configs, tokenizer and chat template. No other counts."""

MEMORY = "digests.json"
"""Where digests are remembered, in the folder of start models."""


def model_folder(start: str, sizes: str) -> Path:
    """The folder of a saved model. UserError where there is none, and where its weights cannot be read safely."""
    folder = Path(start).expanduser()
    if (folder / "adapter_config.json").is_file():
        raise UserError(
            f"start: {start!r} holds a LoRA adapter, not a model; merge it into its base model (peft's "
            "merge_and_unload), save that, and name its folder"
        )
    if not (folder / "config.json").is_file():
        raise UserError(
            f"start: {start!r} is neither an embedded size ({sizes}) nor a folder with a model saved by "
            "save_pretrained (no config.json in it)"
        )
    if not any(path for pattern in WEIGHTS for path in folder.glob(pattern)):
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        why = f"{pickled[0]} is pickled, and reading it would run what it holds" if pickled else "it has no weights"
        raise UserError(f"start: {start!r}: {why}; save the model as safetensors")
    return folder


def digest_of(folder: Path, cache: Path) -> str:
    """A hash of what makes a saved model, as 12 hex digits. An edited README or a training log changes nothing.

    Files are read once: the hash is remembered in `cache` with each file's size and time of change.
    """
    files = sorted({path for pattern in READ for path in folder.glob(pattern) if path.is_file()})
    state = [[path.name, (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]
    place, memory = str(folder.resolve()), _remembered(cache)
    if place in memory and memory[place]["files"] == state:
        return str(memory[place]["digest"])
    hashes = hashlib.sha256()
    for path in files:
        hashes.update(path.name.encode())
        with path.open("rb") as file:
            hashes.update(hashlib.file_digest(file, "sha256").digest())
    found = hashes.hexdigest()[:12]
    with contextlib.suppress(OSError):  # a folder that cannot be written only costs the time to read again
        cache.mkdir(parents=True, exist_ok=True)
        half = cache / f"{MEMORY}.{os.getpid()}"
        half.write_text(json.dumps(memory | {place: {"files": state, "digest": found}}, indent=1) + "\n", "utf-8")
        half.replace(cache / MEMORY)
    return found


def _remembered(cache: Path) -> dict[str, Any]:
    try:
        memory = json.loads((cache / MEMORY).read_text(encoding="utf-8"))
        return {place: known for place, known in memory.items() if {"files", "digest"} <= known.keys()}
    except (OSError, ValueError, AttributeError):
        return {}
