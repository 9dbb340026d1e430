"""Start models that were saved by somebody: a folder as `save_pretrained` writes it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ppo_vs_grpo.benchmarks.models.start import Start
from ppo_vs_grpo.tasks.errors import UserError

WEIGHTS = ("*.safetensors", "*.safetensors.index.json")
READ = (
    *WEIGHTS, "config.json", "generation_config.json", "tokenizer*", "special_tokens_map.json", "added_tokens.json",
    "vocab*", "merges.txt", "*.model", "chat_template*",
)  # fmt: skip
"""The files that make a start model, as patterns: weights, configs, tokenizer and chat template. No other counts."""

MEMORY = "digests.json"
"""Where digests are remembered, in the folder of start models."""


def find(start: str, folder: Path, cache: Path) -> Start:
    """A saved model, in one file or in shards. UserError where its weights are missing, or cannot be read safely."""
    if not (folder / "config.json").is_file():
        raise UserError(
            f"start: {start!r}: no model saved by save_pretrained (config.json), no GGUF file and no LoRA adapter "
            "(adapter_config.json) is in this folder"
        )
    if not has_weights(folder):
        raise UserError(f"start: {start!r}: {_why_no_weights(folder)}; save the model as safetensors")
    return Start(start, digest_of(folder, read_files(folder), cache), folder.absolute(), None)


def read_files(folder: Path) -> list[Path]:
    """The files of a folder that make a start model, by name."""
    return sorted({path for pattern in READ for path in folder.glob(pattern) if path.is_file()})


def has_weights(folder: Path) -> bool:
    """Whether there are safetensors in the folder."""
    return any(path for pattern in WEIGHTS for path in folder.glob(pattern))


def _why_no_weights(folder: Path) -> str:
    pickled = sorted(path.name for path in folder.glob("*.bin"))
    return f"{pickled[0]} is pickled, and reading it would run what it holds" if pickled else "it has no weights"


def digest_of(place: Path, files: Sequence[Path], cache: Path) -> str:
    """A hash of the names and bytes of files, as 12 hex digits. What else lies beside them changes nothing.

    Files are read once: the hash is remembered in `cache` for their `place`, with each file's size and time of change.
    """
    state = [[path.name, (stat := path.stat()).st_size, stat.st_mtime_ns] for path in files]
    name, memory = str(place.resolve()), _remembered(cache)
    if name in memory and memory[name]["files"] == state:
        return str(memory[name]["digest"])
    hashes = hashlib.sha256()
    for path in files:
        hashes.update(path.name.encode())
        with path.open("rb") as file:
            hashes.update(hashlib.file_digest(file, "sha256").digest())
    found = hashes.hexdigest()[:12]
    with contextlib.suppress(OSError):  # a folder that cannot be written only costs the time to read again
        cache.mkdir(parents=True, exist_ok=True)
        half = cache / f"{MEMORY}.{os.getpid()}"
        half.write_text(json.dumps(memory | {name: {"files": state, "digest": found}}, indent=1) + "\n", "utf-8")
        half.replace(cache / MEMORY)
    return found


def _remembered(cache: Path) -> dict[str, Any]:
    try:
        memory = json.loads((cache / MEMORY).read_text(encoding="utf-8"))
        return {place: known for place, known in memory.items() if {"files", "digest"} <= known.keys()}
    except (OSError, ValueError, AttributeError):
        return {}
