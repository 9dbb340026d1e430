"""What a model must have to be a start: said before the first run where config and tokenizer tell it, without weights.

Whether sampler and update read a model as it reads itself is asked in each run (`algorithms/shared/agreement.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppo_vs_grpo.tasks.errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER = ("tokenizer*", "vocab*", "*.model")
"""Files of which a tokenizer has at least one, as patterns."""


def check(start: str, folder: Path) -> None:
    """UserError where a saved model cannot be a start: its architecture, its tokenizer, its end token, its vocabulary.

    `start` is its name in a message.
    """
    from transformers import AutoConfig

    said = _said(folder)
    _check_architecture(start, said)
    tokenizer = _tokenizer(start, folder)
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"start: {start!r}: its tokenizer has no end token (eos_token), so no completion would end by itself; name "
            "one in tokenizer_config.json"
        )
    rows = AutoConfig.from_pretrained(folder, trust_remote_code=False).get_text_config().vocab_size
    if len(tokenizer) > rows:
        raise UserError(
            f"start: {start!r}: its tokenizer has {len(tokenizer)} tokens, its embedding {rows} rows (vocab_size); the "
            "two are of different models, or the embedding was not resized"
        )


def quantization(folder: Path) -> str | None:
    """How the weights of a saved model are quantised, such as "gptq"; None where they are plain numbers."""
    said = _said(folder).get("quantization_config")
    return str(said.get("quant_method", "by no named method")) if said else None


def check_trained(start: str, method: str | None, lora_rank: int | None) -> None:
    """UserError, beginning with the key, where all weights of a quantised model would be trained."""
    if method and lora_rank is None:
        raise UserError(
            f"train.lora_rank: null: the weights of the start {start!r} are quantised ({method}), and no step changes "
            "those; train adapters (16, for example), or name the model as it was before quantisation"
        )


def _said(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "config.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"start: {str(folder)!r}: config.json cannot be read: {error}") from None


def _check_architecture(start: str, said: dict[str, Any]) -> None:
    """Refuse what transformers does not read itself. Code that comes with a model is never run."""
    from transformers import __version__
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    kind = said.get("model_type")
    if kind in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
        return
    if "auto_map" in said:
        raise UserError(
            f"start: {start!r}: its architecture {kind!r} is code that comes with it (auto_map), and such code is not "
            f"run here (trust_remote_code is off); transformers {__version__} has none of that name"
        )
    raise UserError(
        f"start: {start!r}: model_type {kind!r} is no causal language model that transformers {__version__} knows"
    )


def _tokenizer(start: str, folder: Path) -> PreTrainedTokenizerBase:
    from transformers import AutoTokenizer, PreTrainedTokenizerBase

    if not any(path for pattern in TOKENIZER for path in folder.glob(pattern)):
        raise UserError(
            f"start: {start!r}: there is no tokenizer in its folder; save it there too (tokenizer.save_pretrained)"
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    except Exception as error:  # each kind of tokenizer fails in a way of its own
        why = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"start: {start!r}: its tokenizer cannot be read: {why}") from error
    assert isinstance(tokenizer, PreTrainedTokenizerBase)
    return tokenizer
