"""The shape of a Llama-like decoder, and its parameters counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from transformers import PretrainedConfig


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes in a config that the formulas use; `vectors` are the sizes of a layer's tensors that are no matrix."""

    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    intermediate: int
    vocabulary: int
    tied: bool
    norms_heads: bool
    vectors: tuple[int, ...]

    @property
    def query(self) -> int:
        """H e."""
        return self.heads * self.head_size

    @property
    def key(self) -> int:
        """K e."""
        return self.kv_heads * self.head_size

    @property
    def matrices(self) -> tuple[tuple[int, int], ...]:
        """Sizes of a layer's inputs and outputs: query, key, value, output, gate, up, down."""
        h, i, q, kv = self.hidden, self.intermediate, self.query, self.key
        return ((h, q), (h, kv), (h, kv), (q, h), (h, i), (h, i), (i, h))

    @property
    def layer_matrix_parameters(self) -> int:
        """h (2 H e + 2 K e + 3 i)."""
        return sum(m * n for m, n in self.matrices)

    def parameters(self, output: bool) -> tuple[int, int]:
        """Numbers and tensors up to the last norm; with `output` also the output embedding, unless it is tied."""
        separate = int(output and not self.tied)
        numbers = self.layers * (self.layer_matrix_parameters + sum(self.vectors)) + self.hidden
        tensors = self.layers * (len(self.matrices) + len(self.vectors)) + 1
        return numbers + (1 + separate) * self.vocabulary * self.hidden, tensors + 1 + separate

    def adapters(self, rank: int) -> tuple[int, int]:
        """Numbers, l r times the sum of a layer's inputs and outputs, and tensors, two per matrix."""
        return self.layers * rank * sum(m + n for m, n in self.matrices), self.layers * 2 * len(self.matrices)


def shape_of(config: PretrainedConfig) -> Shape | None:
    """The shape of a Llama, Qwen2 or Qwen3 with full attention; None for others, whose layers have no formula."""
    read: dict[str, Any] = config.to_dict()
    kind = read.get("model_type")
    if kind not in ("llama", "qwen2", "qwen3") or read.get("use_sliding_window"):
        return None
    h, i, heads = (int(read[name]) for name in ("hidden_size", "intermediate_size", "num_attention_heads"))
    layers, kv_heads, vocabulary = (
        int(read[name]) for name in ("num_hidden_layers", "num_key_value_heads", "vocab_size")
    )
    e = int(read.get("head_dim") or h // heads)
    vectors: tuple[int, ...] = (h, h)  # the norms before attention and before the rest
    if kind == "qwen2" or read.get("attention_bias"):
        vectors += (heads * e, kv_heads * e, kv_heads * e) + ((h,) if kind != "qwen2" else ())
    if read.get("mlp_bias"):
        vectors += (i, i, h)
    if kind == "qwen3":
        vectors += (e, e)
    tied = bool(read["tie_word_embeddings"])
    return Shape(layers, h, heads, kv_heads, e, i, vocabulary, tied, kind == "qwen3", vectors)
