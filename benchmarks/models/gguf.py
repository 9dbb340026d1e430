"""Start models from a GGUF file: dequantised once, and saved as `save_pretrained` does.

Weights become float32. A quantised weight is a small integer times a float16 scale, plus a float16 minimum: float32
holds that exactly, bfloat16 would round it again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ppo_vs_grpo.benchmarks.models import admission
from ppo_vs_grpo.benchmarks.models.saved import digest_of
from ppo_vs_grpo.benchmarks.models.start import Start
from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from tokenizers.pre_tokenizers import PreTokenizer

RECIPE = 1
"""Version of `convert`; part of the content hash."""

SUFFIX = ".gguf"


def only_file(start: str, folder: Path) -> Path | None:
    """The GGUF file of a folder, None where there is none. UserError where there are several."""
    files = sorted(folder.glob(f"*{SUFFIX}"))
    if len(files) > 1:
        names = ", ".join(file.name for file in files)
        raise UserError(f"start: {start!r} has several GGUF files ({names}); name one, such as {files[0]}")
    return files[0] if files else None


def find(start: str, file: Path, cache: Path, stem: str | None = None, other_ends: Sequence[str] = ()) -> Start:
    """The model of a GGUF file; its folder's name begins with `stem`. UserError where gguf is not installed.

    `other_ends` are tokens that end a completion too, beside the file's own.
    """
    if find_spec("gguf") is None:
        raise UserError(f"start: {start!r}: reading GGUF needs gguf, not installed: pip install 'ppo-vs-grpo[gguf]'")
    made_of = {
        "recipe": RECIPE,
        "file": digest_of(file, [file], cache),
        "ends": list(other_ends),
        "versions": {name: version(name) for name in ("gguf", "transformers")},
    }
    digest = hashlib.sha256(json.dumps(made_of, sort_keys=True).encode()).hexdigest()[:12]
    make = partial(_make, start, file.absolute(), other_ends)
    return Start(start, digest, Path(f"{stem or file.stem}.{digest}"), make)


def _make(start: str, file: Path, other_ends: Sequence[str], folder: Path, cache: Path) -> None:
    try:
        convert(file, folder, other_ends)
    # transformers raises each of these for an architecture or a tensor that it does not read.
    except (ValueError, NotImplementedError, KeyError) as error:
        raise UserError(
            f"start: {start!r}: this GGUF file cannot be converted: {str(error).splitlines()[0]}"
        ) from error
    admission.check(start, folder)


def convert(file: Path, folder: Path, other_ends: Sequence[str] = ()) -> None:
    """Save the model and tokenizer of a GGUF file into the folder. About a minute for 135M parameters."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    tokenizer = AutoTokenizer.from_pretrained(file.parent, gguf_file=file.name)
    if rule := _pre_tokenizer(file):
        tokenizer.backend_tokenizer.pre_tokenizer = rule
    model = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32, quantization_config=GgufConfig(dequantize=True)
    )
    ends = [tokenizer.eos_token_id, *(tokenizer.convert_tokens_to_ids(token) for token in other_ends)]
    model.generation_config.eos_token_id = ends if other_ends else ends[0]
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _pre_tokenizer(file: Path) -> PreTokenizer | None:
    """The rule by which the file's tokenizer splits text, where transformers does not take it from there.

    "smollm" takes each digit alone, before all else: the two line ends of "1\\n\\n2" are then one token, not two.
    """
    from gguf import GGUFReader
    from tokenizers import pre_tokenizers

    field = GGUFReader(file).get_field("tokenizer.ggml.pre")
    if field is None or field.contents() != "smollm":
        return None
    digits = pre_tokenizers.Digits(individual_digits=True)
    return pre_tokenizers.Sequence([digits, pre_tokenizers.ByteLevel(add_prefix_space=False)])
