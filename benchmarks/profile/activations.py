"""Activations of one pass, by arithmetic on the shape of a Llama-like decoder. Letters are those of `closed_form`.

They are counted as in Korthikanti et al. 2022, arXiv 2205.05198, section 4: the tensors that autograd keeps of a layer.
Fused attention keeps no scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ppo_vs_grpo.algorithms.shared.networks.likelihood import chunk_tokens
from ppo_vs_grpo.benchmarks.profile.decoder import Shape
from ppo_vs_grpo.benchmarks.profile.work import Work


class Pass(NamedTuple):
    """A micro-batch: its rows, and its tokens S."""

    rows: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Activations:
    """Activations of an arm with this kind of critic, or None."""

    shape: Shape
    work: Work
    critic: str | None

    def norm_bytes(self, size: int, rows: int) -> int:
        """Kept by an RMS norm of `rows` vectors: input in float32, scale, and the input of a trained weight."""
        trained = self.work.train.lora_rank is None
        return rows * (4 * size + 4 + (self.work.d * size if trained else 0))

    def layer_bytes(self, part: Pass) -> int:
        """Kept by a layer in bfloat16: (16 h + 8) + 2 H e + 8 i bytes per token, 4 (H e + K e) + 4 H per place of Z.

        These are both norms with their results (the matrices' inputs); gate, its SiLU, up and their product; the
        attention's result; and, laid out as rows, query, key, value, the result again and its log-sum-exp. An adapter
        keeps its input in float32, unless that is kept anyway, and the r numbers between its matrices. A frozen matrix
        keeps nothing.
        """
        s, d, rank, tokens = self.shape, self.work.d, self.work.train.lora_rank, part.tokens
        kept = 2 * self.norm_bytes(s.hidden, tokens)
        if s.norms_heads:
            kept += self.norm_bytes(s.head_size, tokens * (s.heads + s.kv_heads))
        kept += part.rows * self.work.length * (d * (2 * s.query + 2 * s.key) + 4 * s.heads)
        a_token = 3 * d * s.intermediate
        if rank is None or d == 4:
            a_token += d * (2 * s.hidden + s.query + s.intermediate)
        else:
            a_token += 4 * sum(m for m, _ in s.matrices)
        return kept + tokens * (a_token + 4 * (rank or 0) * len(s.matrices))

    def trunk_bytes(self, part: Pass) -> int:
        """Kept by all layers (with checkpoints only their inputs), by the last norm and as the rotation's angles."""
        s, tokens = self.shape, part.tokens
        layer = tokens * s.hidden * self.work.d if self.work.train.gradient_checkpointing else self.layer_bytes(part)
        return s.layers * layer + self.norm_bytes(s.hidden, tokens) + 2 * tokens * s.head_size * self.work.d

    def at_once(self, reads: int) -> int:
        """The number of tokens among N completion tokens whose logits exist at a time: n."""
        return min(reads, chunk_tokens(self.shape.vocabulary))

    def in_chunks(self, reads: int) -> bool:
        """Whether n is smaller than N."""
        return self.at_once(reads) < reads

    def output_bytes(self, reads: int) -> int:
        """Kept by the output on N completion tokens: float32 log-probabilities, 4 N V, if all are made at once; the
        hidden state, if something is trained on it; and about 64 bytes for the token and the terms of its loss.
        """
        s, d, rank = self.shape, self.work.d, self.work.train.lora_rank
        read = 0 if self.in_chunks(reads) else 4 * s.vocabulary
        if rank is None or self.in_chunks(reads):
            read += d * s.hidden
        if self.critic is not None and (d < 4 or self.critic == "model" or rank is not None):
            read += 4 * s.hidden
        return reads * (read + 64)

    def again_bytes(self, reads: int) -> int:
        """The part of the output that its backward pass makes again: a chunk's log-probabilities."""
        return 4 * self.at_once(reads) * self.shape.vocabulary if self.in_chunks(reads) else 0

    def passing_bytes(self, part: Pass) -> int:
        """A layer's peak without gradients: three tensors of width i beside four copies of the stream of width h, or
        attention laid out as rows beside two copies. An adapter's result is scaled and added in float32: two
        of the three tensors are then float32.
        """
        s, d, tokens = self.shape, self.work.d, part.tokens
        laid_out = part.rows * self.work.length * (2 * d * (s.query + s.key) + 4 * s.heads)
        attending = laid_out + tokens * d * (2 * s.hidden + s.query + 2 * s.key)
        if self.work.train.lora_rank is None:
            return max(attending, tokens * d * (3 * s.intermediate + 4 * s.hidden))
        stream = 4 * d + (4 if d < 4 else 0)
        return max(attending, tokens * ((2 * d + 8) * s.intermediate + stream * s.hidden))

    def gradient_bytes(self, tokens: int) -> int:
        """The most that a layer's backward pass adds: gradients of gate, SiLU and up, after their product is freed, and
        of the stream.
        """
        return tokens * self.work.d * (2 * self.shape.intermediate + self.shape.hidden)

    def forward_bytes(self, part: Pass) -> int:
        """Peak of the forward pass: the entropy's two (n, V) float32 tensors beside all that is kept, or the critic's
        trunk, or the last layer if nothing of it is kept. In chunks, a chunk's log-probabilities add to the two.
        """
        s, reads = self.shape, part.rows * self.work.new_tokens
        policy, n = self.trunk_bytes(part) + self.output_bytes(reads), self.at_once(reads)
        passing = self.passing_bytes(part) if self.work.train.gradient_checkpointing else 0
        value = self.trunk_bytes(part) + passing if self.critic == "model" else 0
        entropy = self.again_bytes(reads) + 8 * n * s.vocabulary
        return max(policy + max(entropy, value), self.trunk_bytes(part) + passing)

    def backward_bytes(self, part: Pass) -> int:
        """Peak of the backward pass, the largest of four moments: the critic's last layer; the gradient of the
        log-softmax, two more (n, V); the gradient of the output embedding, V h, beside logits; the policy's last layer.
        In chunks, log-probabilities are made again, and the embedding's gradient adds to that of earlier chunks.
        """
        s, d, reads = self.shape, self.work.d, part.rows * self.work.new_tokens
        trunk, output = self.trunk_bytes(part), self.output_bytes(reads)
        layer = self.gradient_bytes(part.tokens)
        if self.work.train.gradient_checkpointing:
            layer += self.layer_bytes(part)
        layer -= self.norm_bytes(s.hidden, part.tokens)
        n, again = self.at_once(reads), self.again_bytes(reads)
        embedding = s.vocabulary * s.hidden * d if self.work.train.lora_rank is None else 0
        before, log_probs, logits = (embedding if again else 0), 4 * n * s.vocabulary, d * n * s.vocabulary
        moments = [
            output + before + again + 2 * log_probs,
            output + before + again - log_probs + logits + embedding,
            layer,
        ]
        if self.critic == "model":
            moments.append(output + trunk + layer)
        return trunk + max(moments)

    def last_backward_bytes(self, part: Pass) -> int:
        """Peak at the end of the backward pass, with all gradients: the first layer, or the embedding's gradient."""
        s, d = self.shape, self.work.d
        embedding = s.vocabulary * s.hidden * d if self.work.train.lora_rank is None else 0
        layer = self.layer_bytes(part) + self.gradient_bytes(part.tokens)
        return max(embedding, layer - embedding)
