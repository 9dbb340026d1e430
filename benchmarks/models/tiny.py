"""Shapes, tokenizer and random weights of the embedded models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ppo_vs_grpo.tasks import lengths

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

CHARACTERS = lengths.CHARACTERS + "\n"


@dataclass(frozen=True, slots=True)
class Size:
    """A Llama shape and its warm start.

    Weights start five times wider than the library's default. With 64 to 256 hidden units the default keeps
    attention uniform for the first hundreds of steps, and a warm start of seconds ends before the model learns
    to read the prompt (numbers in docs/log.md).
    """

    hidden: int
    layers: int
    heads: int
    intermediate: int
    learning_rate: float
    demonstrations: int = 16_000
    steps: int = 400
    batch: int = 128
    initializer_range: float = 0.1


SIZES = {
    "nano": Size(hidden=64, layers=2, heads=4, intermediate=192, learning_rate=5e-3),
    "tiny": Size(hidden=128, layers=4, heads=4, intermediate=384, learning_rate=2e-3),
    "small": Size(hidden=256, layers=6, heads=8, intermediate=704, learning_rate=1e-3),
    "medium": Size(hidden=512, layers=8, heads=8, intermediate=1408, learning_rate=5e-4, steps=200, batch=64),
}


def tokenizer() -> PreTrainedTokenizerFast:
    """One token per printable ASCII character, with distinct pad, begin and end tokens."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    vocabulary = {token: i for i, token in enumerate(["<pad>", "<s>", "</s>", "<unk>", *CHARACTERS])}
    characters = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    characters.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), behavior="isolated")
    characters.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=characters,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        clean_up_tokenization_spaces=False,
    )


def untrained(size: Size, characters: PreTrainedTokenizerFast, tied: bool = True) -> LlamaForCausalLM:
    """A Llama of this shape with random weights, always the same. `tied`: input and output share an embedding."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=len(characters),
        hidden_size=size.hidden,
        num_hidden_layers=size.layers,
        num_attention_heads=size.heads,
        num_key_value_heads=size.heads,
        intermediate_size=size.intermediate,
        max_position_embeddings=2048,
        initializer_range=size.initializer_range,
        tie_word_embeddings=tied,
        pad_token_id=characters.pad_token_id,
        bos_token_id=characters.bos_token_id,
        eos_token_id=characters.eos_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return LlamaForCausalLM(config)
