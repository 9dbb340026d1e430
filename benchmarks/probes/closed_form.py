"""What an update needs, by arithmetic on the shape of a Llama-like decoder: the estimate beside `predict`.

Letters: B completions, L = P + T tokens of prompt and completion, S and N all and completion tokens of a micro-batch;
l layers, h hidden size, H query and K key/value heads of size e, i intermediate size, V vocabulary; d bytes a number,
r the rank of adapters, which are float32.

Held all the time: d bytes a parameter, d its gradient, 2d its two AdamW moments, d a parameter of the reference: the
account of Rajbhandari et al. 2020, arXiv 1910.02054, section 3.1, here with everything in the model's own type.

Activations are counted as in Korthikanti et al. 2022, arXiv 2205.05198, section 4, for this decoder: what autograd
keeps of a layer under fused attention, which keeps no scores. Operations are 2 for each parameter of a matrix and token
(Kaplan et al. 2020, arXiv 2001.08361, section 2.1) and 4 L^2 H e for the attention of a layer and row, as if nothing
were masked. Backward, a matrix costs twice its forward pass, one that is frozen once; fused attention costs 2.5 times,
since it computes the scores again. A checkpoint costs another forward pass of its layers, save for their last matrix,
whose result no gradient needs.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PretrainedConfig

from ppo_vs_grpo.algorithms import entry, find
from ppo_vs_grpo.algorithms.shared.config import Needs
from ppo_vs_grpo.benchmarks.probes.decoder import Shape, shape_of
from ppo_vs_grpo.benchmarks.probes.predict import Work


@dataclass(frozen=True, slots=True)
class ClosedForm:
    """An arm's update: the most that each role holds, and peaks and operations by phase, named as in `memory`.

    Roles do not hold their most at the same time: they add up to more than the largest peak.
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
    """What an arm needs for an update; None for a shape that is not known, and for an arm that samples or compares
    whole distributions within its update, as `vine-ppo` and `grpo-source` do.
    """
    shape, known, train = shape_of(config), entry(arm), work.train()
    train = train.model_copy(update=known.train(train))
    kind = find(arm)
    needs: Needs = kind(kind.Config.model_validate(known.config), train).needs
    if shape is None or needs.continuations or needs.exact_kl:
        return None
    update = _Update(
        shape,
        work,
        critic=needs.critic.kind if needs.critic else None,
        reference=train.beta > 0,
        prompts=train.prompts_per_update,
        mini_batches=train.mini_batches,
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
    def d(self) -> int:
        return self.work.dtype.itemsize

    @property
    def length(self) -> int:
        return self.work.prompt_tokens + self.work.new_tokens

    def micro_batches(self) -> list[tuple[int, bool]]:
        """Rows of an optimizer step's first micro-batch and of its second, and whether gradients are there by then."""
        rows = -(-self.work.completions // min(self.mini_batches, self.work.completions))
        first = min(rows, max(1, self.work.micro_batch_tokens // self.length))
        second = min(first, rows - first)
        return [(first, False), (second, True)] if second else [(first, False)]

    def held_bytes(self) -> dict[str, int]:
        """Parameters with their buffers (two halves of e float32 frequencies), gradients and optimizer state.

        With adapters all networks share what is frozen. AdamW counts its steps in a float32 for each tensor.
        """
        s, d, buffers = self.shape, self.d, 4 * self.shape.head_size
        numbers, tensors = s.parameters(output=True)
        trunk, trunk_tensors = s.parameters(output=False) if self.critic == "model" else (0, 0)
        frozen, of_trained = 0, d
        if self.work.lora_rank is not None:
            frozen, of_trained = numbers * d, 4
            numbers, tensors = s.adapters(self.work.lora_rank)
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

    def cache_bytes(self, rows: int) -> int:
        """Keys and values of every layer, with room for all tokens: 2 l K e d L a row."""
        return rows * self.length * 2 * self.shape.layers * self.shape.key * self.d

    def copied_cache_bytes(self) -> int:
        """The cache of all rows, at the moment when the last buffer of the prompts has been copied to them."""
        return self.cache_bytes(self.work.completions) + self.cache_bytes(self.prompts) // (2 * self.shape.layers)

    def norm_bytes(self, size: int, rows: int) -> int:
        """Kept of an RMS norm of `rows` vectors: input in float32, scale, and what a trained weight multiplies."""
        trained = self.work.lora_rank is None
        return rows * (4 * size + 4 + (self.d * size if trained else 0))

    def layer_bytes(self, tokens: int) -> int:
        """Kept of a layer, S tokens: (16 h + 8) + 4 (H e + K e) + 4 H + 8 i bytes a token in bfloat16.

        Both norms with their results, which are the matrices' inputs; query, key, value, the attention's result and
        its log-sum-exp; gate, its SiLU, up and their product. An adapter keeps its input in float32, where that is
        not kept anyway, and the r numbers between its matrices; a frozen matrix keeps nothing.
        """
        s, d, rank = self.shape, self.d, self.work.lora_rank
        kept = 2 * self.norm_bytes(s.hidden, tokens)
        if s.norms_heads:
            kept += self.norm_bytes(s.head_size, tokens * (s.heads + s.kv_heads))
        a_token = d * (2 * s.query + 2 * s.key) + 4 * s.heads + 3 * d * s.intermediate
        if rank is None or d == 4:
            a_token += d * (2 * s.hidden + s.intermediate)
        else:
            a_token += 4 * sum(m for m, _ in s.matrices)
        return kept + tokens * (a_token + 4 * (rank or 0) * len(s.matrices))

    def trunk_bytes(self, tokens: int) -> int:
        """Kept of all layers, or only their inputs with checkpoints; of the last norm and the rotation's angles."""
        s = self.shape
        layer = tokens * s.hidden * self.d if self.work.gradient_checkpointing else self.layer_bytes(tokens)
        return s.layers * layer + self.norm_bytes(s.hidden, tokens) + 2 * self.length * s.head_size * self.d

    def output_bytes(self, reads: int) -> int:
        """Kept of the output on N completion tokens: float32 log-probabilities, 4 N V; and the hidden state for what
        is trained on it.
        """
        s, d, rank = self.shape, self.d, self.work.lora_rank
        read = d * s.hidden if rank is None else 0
        if self.critic is not None and (d < 4 or self.critic == "model" or rank is not None):
            read += 4 * s.hidden
        return reads * (4 * s.vocabulary + read)

    def passing_bytes(self, tokens: int) -> int:
        """What a layer needs at once without gradients: three tensors i wide, beside four copies of the h wide stream.

        An adapter's result is scaled and added in float32: two of the three are then that.
        """
        s, d = self.shape, self.d
        if self.work.lora_rank is None:
            return tokens * d * (3 * s.intermediate + 4 * s.hidden)
        return tokens * ((2 * d + 8) * s.intermediate + (4 * d + (4 if d < 4 else 0)) * s.hidden)

    def gradient_bytes(self, tokens: int) -> int:
        """What a layer's backward pass adds at most: gradients of gate, SiLU and up, once their product is gone, and
        of the stream.
        """
        return tokens * self.d * (2 * self.shape.intermediate + self.shape.hidden)

    def role_bytes(self) -> dict[str, int]:
        """The most that each role holds; of the batch its ids, and a few numbers a completion token."""
        w, rows = self.work, max(rows for rows, _ in self.micro_batches())
        tokens = rows * self.length
        again = 0
        if w.gradient_checkpointing:  # the last norm is done with, and a float32 input is the checkpoint itself
            done = self.norm_bytes(self.shape.hidden, tokens) + (4 * tokens * self.shape.hidden if self.d == 4 else 0)
            again = self.layer_bytes(tokens) - done
        per_token = 8 + 1 + 4 * (3 + self.reference + 2 * (self.critic is not None))
        roles = self.held_bytes() | {
            "kv_cache": self.copied_cache_bytes(),
            "activations.policy": self.trunk_bytes(tokens) + max(self.output_bytes(rows * w.new_tokens), again),
            "batch": w.completions * (8 * self.length + per_token * w.new_tokens),
        }
        if self.critic == "model":
            roles["activations.value"] = self.trunk_bytes(tokens) + again
        return roles

    def phase_peak_bytes(self) -> dict[str, int]:
        """The most memory at once by phase: what is held, and the largest of what a phase's moments add to it."""
        s, w, d, held = self.shape, self.work, self.d, self.held_bytes()
        always = sum(held.values())
        rows = min(w.completions, max(1, w.micro_batch_tokens // self.length))
        reads, passing = rows * w.new_tokens, self.passing_bytes(rows * self.length)
        prefill = self.cache_bytes(self.prompts) + self.passing_bytes(self.prompts * w.prompt_tokens)
        sampling = max(w.completions * s.vocabulary * (d + 12), self.passing_bytes(w.completions))
        peaks = {
            "rollout": always + max(prefill, self.copied_cache_bytes(), self.cache_bytes(w.completions) + sampling)
        }
        if self.reference:  # logits, scaled in float32, their log-softmax
            peaks["reference"] = always + max(passing, reads * (s.vocabulary * (d + 8) + s.hidden * d))
        if self.critic is not None:
            peaks["value"] = always + passing
        gradients = sum(size for role, size in held.items() if role.endswith(".grads"))
        forward, backward = [], []
        for rows, accumulates in self.micro_batches():
            before = always - (0 if accumulates else gradients)
            forward.append(before + self.forward_bytes(rows))
            backward.append(before + self.backward_bytes(rows))
            backward.append(always + self.last_backward_bytes(rows))
        return peaks | {"forward": max(forward), "backward": max(backward), "optimizer": always}

    def forward_bytes(self, rows: int) -> int:
        """The entropy's two (N, V) float32 tensors beside all that is kept, or the critic's trunk; or the
        last layer, where nothing of it is kept.
        """
        s, tokens, reads = self.shape, rows * self.length, rows * self.work.new_tokens
        policy = self.trunk_bytes(tokens) + self.output_bytes(reads)
        passing = self.passing_bytes(tokens) if self.work.gradient_checkpointing else 0
        value = self.trunk_bytes(tokens) + passing if self.critic == "model" else 0
        return max(policy + max(8 * reads * s.vocabulary, value), self.trunk_bytes(tokens) + passing)

    def backward_bytes(self, rows: int) -> int:
        """The largest of four moments: the critic's last layer; the gradient of the log-softmax, two more (N, V); that
        of the output embedding, V h, beside logits; the policy's last layer.
        """
        s, d, tokens, reads = self.shape, self.d, rows * self.length, rows * self.work.new_tokens
        trunk, output = self.trunk_bytes(tokens), self.output_bytes(reads)
        layer = self.gradient_bytes(tokens)
        if self.work.gradient_checkpointing:
            layer += self.layer_bytes(tokens)
        layer -= self.norm_bytes(s.hidden, tokens)
        trained = self.work.lora_rank is None
        logits = reads * s.vocabulary * d + (s.vocabulary * s.hidden * d if trained else 0)
        moments = [
            output + 8 * reads * s.vocabulary,
            output - 4 * reads * s.vocabulary + logits,
            layer,
        ]
        if self.critic == "model":
            moments.append(output + trunk + layer)
        return trunk + max(moments)

    def last_backward_bytes(self, rows: int) -> int:
        """The first layer's moment, or the input embedding's gradient, when all gradients are there."""
        s, d, tokens = self.shape, self.d, rows * self.length
        embedding = s.vocabulary * s.hidden * d if self.work.lora_rank is None else 0
        layer = self.layer_bytes(tokens) + self.gradient_bytes(tokens)
        return max(embedding, layer - embedding)

    def phase_flops(self) -> dict[str, float]:
        """Operations by phase: 2 l h (2 H e + 2 K e + 3 i) a token, 2 V h one that is read, attention and adapters."""
        s, w, rank = self.shape, self.work, self.work.lora_rank
        length, prompt, new, rows = self.length, w.prompt_tokens, w.new_tokens, w.completions
        matrices = 2 * s.layers * s.layer_matrix_parameters
        adapters = 2 * s.adapters(rank)[0] if rank is not None else 0
        attention, read = 4 * s.layers * s.query, 2 * s.vocabulary * s.hidden  # of a pair of tokens; of a token
        layers = length * (matrices + adapters) + length**2 * attention
        decoded = (new - 1) * (matrices + adapters + read + attention * (prompt + new / 2))
        prefill = prompt * (matrices + adapters) + prompt**2 * attention + read
        value = new * 2 * s.hidden if self.critic is not None else 0
        back = length * (matrices * (2 if rank is None else 1) + 2 * adapters) + 2.5 * length**2 * attention
        if rank is not None:  # an embedding that is frozen asks the first query, key and value for no gradient
            back -= length * 2 * (s.hidden * (s.query + 2 * s.key) + 3 * rank * s.hidden)
        if w.gradient_checkpointing:
            back += layers - (length * 2 * s.layers * s.intermediate * s.hidden if rank is None else 0)
        trunks = 2 if self.critic == "model" else 1
        flops = {"rollout": self.prompts * prefill + rows * decoded}
        if self.reference:
            flops["reference"] = rows * (layers + new * read)
        if self.critic is not None:
            flops["value"] = rows * (layers + value)
        flops["forward"] = rows * (trunks * layers + new * read + value)
        flops["backward"] = rows * (trunks * back + new * read * (2 if rank is None else 1) + 2 * value)
        return flops
