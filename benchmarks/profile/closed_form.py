"""Memory and operations of an update, by arithmetic on the shape of a Llama-like decoder; an estimate beside `predict`.

Letters: B completions, L = P + T tokens of prompt and completion. In a micro-batch: S tokens, equal prompts once; N
completion tokens; Z = rows times L places in attention. l layers, h hidden size, H query and K key/value heads of size
e, i intermediate size, V vocabulary, d bytes per number, r the rank of adapters, which are float32.

Held all the time: d bytes per parameter, d per gradient, 2d for two AdamW moments, d per parameter of the reference, as
in Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1, but with everything in the model's own type.

`activations` has the memory of a pass. Operations are 2 per matrix parameter and token (Kaplan et al. 2020, arXiv
2001.08361, section 2.1) and 4 L^2 H e for the attention of a layer and row, as if nothing were masked. A matrix's
backward pass costs twice its forward pass, a frozen matrix's once. That of fused attention costs 2.5 times, since it
computes the scores again. A checkpoint costs another forward pass of its layers, except their last matrix, whose result
no gradient needs. Chunks of a large vocabulary, n tokens at once, cost another forward pass of the output.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig

from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.shared.config import Needs
from ppo_vs_grpo.algorithms.shared.networks.sequences import full_length, micro_batches
from ppo_vs_grpo.benchmarks.profile.activations import Activations, Pass
from ppo_vs_grpo.benchmarks.profile.decoder import Shape, shape_of
from ppo_vs_grpo.benchmarks.profile.work import Work


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """An arm's update: each role's peak, and peaks and operations by phase, named as in `memory`.

    Roles peak at different times, so their peaks add up to more than the largest peak.
    """

    arm: str
    role_bytes: dict[str, int]
    phase_peak_bytes: dict[str, int]
    phase_flops: dict[str, float]

    @property
    def total_peak_bytes(self) -> int:
        """The most memory at once."""
        return max(self.phase_peak_bytes.values())

    @property
    def flops_per_update(self) -> float:
        """Floating-point operations of the whole update."""
        return sum(self.phase_flops.values())


def closed_form(config: PretrainedConfig, arm: str, work: Work) -> ClosedForm | None:
    """Memory and operations of an arm's update. None for an unknown shape, for products in bfloat16, and for arms that
    sample or compare whole distributions within an update (`vine-ppo`, `grpo-source`) or whose critic makes passes of
    its own or learns in part (`sao`).
    """
    shape, known, train = shape_of(config), entry(arm), work.train
    train = train.model_copy(update=known.train(train))
    kind = find(arm)
    needs: Needs = kind(kind.Config.model_validate(known.config), train).needs
    if needs.critic is not None and (needs.critic.passes > 1 or needs.critic.frozen_attention):
        return None
    if shape is None or needs.continuations or needs.exact_kl or work.train.dtype != "float32":
        return None
    update = _Update(
        shape,
        work,
        critic=needs.critic.kind if needs.critic else None,
        reference=train.beta > 0,
        prompts=train.prompts_per_update,
        mini_batches=min(train.mini_batches, work.completions),
    )
    return ClosedForm(arm, update.role_bytes(), update.phase_peak_bytes(), update.phase_flops())


@dataclass(frozen=True, slots=True)
class _Update:
    shape: Shape
    work: Work
    critic: str | None
    reference: bool
    prompts: int
    mini_batches: int

    @property
    def activations(self) -> Activations:
        return Activations(self.shape, self.work, self.critic)

    def passes(self, mini_batches: int) -> list[Pass]:
        """The micro-batches of a mini-batch in which every prompt has equally many rows."""
        w, rows = self.work, -(-self.work.completions // mini_batches)
        group_B = torch.arange(rows) * min(rows, self.prompts) // rows
        sequences = full_length(w.prompt_tokens, w.new_tokens, group_B)
        parts = micro_batches(sequences, torch.arange(rows), w.train.micro_batch_tokens)
        return [Pass(len(part), sequences.packed_tokens(part)) for part in parts]

    def held_bytes(self) -> dict[str, int]:
        """Parameters with their buffers (two halves of e float32 frequencies), gradients and optimizer state.

        With adapters all networks share the frozen tensors. AdamW keeps a float32 step count per tensor.
        """
        s, d, buffers = self.shape, self.work.d, 4 * self.shape.head_size
        numbers, tensors = s.parameters(output=True)
        trunk, trunk_tensors = s.parameters(output=False) if self.critic == "model" else (0, 0)
        frozen, of_trained = 0, d
        if self.work.train.lora_rank is not None:
            frozen, of_trained = numbers * d, 4
            numbers, tensors = s.adapters(self.work.train.lora_rank)
            trunk, trunk_tensors = (numbers, tensors) if self.critic == "model" else (0, 0)
        held = {
            "policy.params": frozen + numbers * of_trained + buffers,
            "policy.grads": numbers * of_trained,
            "optimizer.policy": 2 * numbers * of_trained + 4 * tensors,
        }
        if self.critic is not None:
            value = trunk * of_trained + 4 * (s.hidden + 1)
            held["value.params"] = value + (buffers if self.critic == "model" else 0)
            held["value.grads"] = value
            held["optimizer.value"] = 2 * value + 4 * (trunk_tensors + 2)
        if self.reference:
            held["reference.params"] = numbers * of_trained + buffers
        return held

    @property
    def at_once(self) -> int:
        """Rows that are sampled together."""
        return min(self.work.train.rollout_rows or self.work.completions, self.work.completions)

    def cache_bytes(self, rows: int) -> int:
        """Keys and values of every layer, with room for all tokens: 2 l K e d L per row."""
        return rows * self.work.length * 2 * self.shape.layers * self.shape.key * self.work.d

    def prompt_cache_bytes(self) -> int:
        """The cache of the prompts, with room for full rows, or only for prompts if rows wait for a place."""
        held = self.cache_bytes(self.prompts)
        return held if self.at_once == self.work.completions else held * self.work.prompt_tokens // self.work.length

    def copied_cache_bytes(self) -> int:
        """The cache of the rows at the moment when the prompts' last buffer has been copied to them.

        If rows wait for a place, the prompts' cache stays. A place's next column and a layer's length are integers.
        """
        prompts, rows = self.prompt_cache_bytes(), self.at_once
        if rows == self.work.completions:
            return self.cache_bytes(rows) + prompts // (2 * self.shape.layers)
        return self.cache_bytes(rows) + prompts + 8 * (rows + self.shape.layers)

    def role_bytes(self) -> dict[str, int]:
        """The most that each role holds. The batch holds ids, and a few numbers per completion token."""
        w, passes = self.work, self.passes(self.mini_batches)

        def again(part: Pass) -> int:
            if not w.train.gradient_checkpointing:
                return 0
            # The last norm is no longer needed, and a float32 input is the checkpoint itself.
            done = self.activations.norm_bytes(self.shape.hidden, part.tokens)
            done += 4 * part.tokens * self.shape.hidden if self.work.d == 4 else 0
            return self.activations.layer_bytes(part) - done

        def output(reads: int) -> int:
            return self.activations.output_bytes(reads) + self.activations.again_bytes(reads)

        per_token = 8 + 1 + 4 * (3 + self.reference + 2 * (self.critic is not None))
        roles = self.held_bytes() | {
            "kv_cache": self.copied_cache_bytes(),
            "activations.policy": max(
                self.activations.trunk_bytes(part) + max(output(part.rows * w.new_tokens), again(part))
                for part in passes
            ),
            "batch": w.completions * (8 * self.work.length + per_token * w.new_tokens),
        }
        if self.critic == "model":
            roles["activations.value"] = max(self.activations.trunk_bytes(part) + again(part) for part in passes)
        return roles

    def phase_peak_bytes(self) -> dict[str, int]:
        """The most memory at once by phase: what is always held, plus the phase's largest moment."""
        s, w, d, held = self.shape, self.work, self.work.d, self.held_bytes()
        always = sum(held.values())
        passes = self.passes(1)
        reads, passing = (
            max(p.rows for p in passes) * w.new_tokens,
            max(self.activations.passing_bytes(p) for p in passes),
        )
        prefill = self.prompt_cache_bytes() + self.activations.passing_bytes(Pass(0, self.prompts * w.prompt_tokens))
        rows, copied = self.at_once, self.copied_cache_bytes()
        sampling = max(rows * s.vocabulary * (d + 12), self.activations.passing_bytes(Pass(0, rows)))
        decoding = (copied if rows < w.completions else self.cache_bytes(rows)) + sampling
        peaks = {"rollout": always + max(prefill, copied, decoding)}
        if self.reference:  # logits, scaled in float32, their log-softmax
            logits = self.activations.at_once(reads) * s.vocabulary * (d + 8)
            peaks["reference"] = always + max(passing, logits + reads * s.hidden * d)
        if self.critic is not None:
            peaks["value"] = always + passing
        gradients = sum(size for role, size in held.items() if role.endswith(".grads"))
        forward, backward = [always], []  # forward, a pass's sums are taken after its backward pass
        for place, part in enumerate(self.passes(self.mini_batches)):
            before = always - (0 if place else gradients)
            forward.append(before + self.activations.forward_bytes(part))
            backward.append(before + self.activations.backward_bytes(part))
            backward.append(always + self.activations.last_backward_bytes(part))
        return peaks | {"forward": max(forward), "backward": max(backward), "optimizer": always}

    def phase_flops(self) -> dict[str, float]:
        """Operations by phase: 2 l h (2 H e + 2 K e + 3 i) per token, 2 V h per token read, attention and adapters."""
        s, w, rank = self.shape, self.work, self.work.train.lora_rank
        length, prompt, new, rows = self.work.length, w.prompt_tokens, w.new_tokens, w.completions
        matrices = 2 * s.layers * s.layer_matrix_parameters
        adapters = 2 * s.adapters(rank)[0] if rank is not None else 0
        attention, read = 4 * s.layers * s.query, 2 * s.vocabulary * s.hidden  # of a pair of tokens; of a token
        pairs = rows * length**2 * attention
        asked = sum(part.tokens for part in self.passes(1)) * (matrices + adapters) + pairs
        tokens = self.mini_batches * sum(part.tokens for part in self.passes(self.mini_batches))
        layers = tokens * (matrices + adapters) + pairs
        decoded = (new - 1) * (matrices + adapters + read + attention * (prompt + new / 2))
        prefill = prompt * (matrices + adapters) + prompt**2 * attention + read
        value = rows * new * 2 * s.hidden if self.critic is not None else 0
        back = tokens * (matrices * (2 if rank is None else 1) + 2 * adapters) + 2.5 * pairs
        if rank is not None:  # a frozen embedding needs no gradient from the first query, key and value
            back -= tokens * 2 * (s.hidden * (s.query + 2 * s.key) + 3 * rank * s.hidden)
        if w.train.gradient_checkpointing:
            back += layers - (tokens * 2 * s.layers * s.intermediate * s.hidden if rank is None else 0)
        trunks = 2 if self.critic == "model" else 1
        flops = {"rollout": self.prompts * prefill + rows * decoded}
        if self.reference:
            flops["reference"] = asked + rows * new * read
        if self.critic is not None:
            flops["value"] = asked + value
        flops["forward"] = trunks * layers + rows * new * read + value
        chunked = [p.rows for p in self.passes(self.mini_batches) if self.activations.in_chunks(p.rows * new)]
        read_rows = rows * (2 if rank is None else 1) + self.mini_batches * sum(chunked)  # chunks are computed again
        flops["backward"] = trunks * back + read_rows * new * read + 2 * value
        return flops
