"""The hyperparameters that every arm of a comparison shares, and the base of an arm's own."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

PHASES = ("rollout", "reward", "reference", "value", "update")
"""The parts of training time; evaluation, probes and recording are not in it."""


class Frozen(BaseModel):
    """An immutable model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Clip(Frozen):
    """How far the ratio pi / pi_old may leave 1 before the objective stops rewarding it."""

    low: float = Field(0.2, gt=0, lt=1)
    high: float = Field(0.2, gt=0)
    dual: float | None = None


class Chat(Frozen):
    """How a prompt becomes text: by the tokenizer's chat template where it has one, or never.

    `system` goes before every conversation. `examples` are questions with their answers, in order, that go before every
    plain prompt as turns of its conversation: few shots show a small model the form of an answer. `variables` are those
    that a template knows beyond the messages, such as `enable_thinking`.
    """

    template: Literal["auto", "off"] = "auto"
    system: str | None = None
    examples: dict[str, str] = Field(default_factory=dict)
    variables: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _a_word_is_the_template(cls, given: Any) -> Any:
        words = {False: "off", "off": "off", "auto": "auto"}  # YAML reads a bare off as false
        return {"template": words[given]} if isinstance(given, (str, bool)) and given in words else given

    @model_validator(mode="after")
    def _without_a_template_there_is_nothing_to_fill(self) -> Chat:
        if self.template == "off" and self.fills:
            raise ValueError(
                "system, examples and variables are part of a template; set template to auto, or leave them out"
            )
        return self

    @property
    def fills(self) -> bool:
        """Whether there is something that only a template can take."""
        return bool(self.system is not None or self.examples or self.variables)


class TrainConfig(Frozen):
    """The settings that all arms share unless an arm declares a difference.

    A batch is `prompts_per_update * group_size` completions. `completions` is the budget of a run.
    `learning_rate` rises linearly over the first `warmup_completions` and then stays constant.
    `micro_batch_tokens` bounds the tokens of one forward pass, each prompt counted once (padded rows if a
    model does not read packed tokens). It changes memory and speed, never the gradient. `dual_clip`
    bounds the loss of tokens with a negative advantage. `rollout_rows` bounds the completions sampled at once: a
    waiting one takes the place of one that has finished. Null samples the whole batch at once. It changes memory and
    speed, never a completion.

    `top_p`, `top_k` and `min_p` truncate the sampler, which then draws from another distribution than the policy's.
    `importance_correction` weighs each token's advantage by policy / sampler. Tokens that the sampler can never draw
    stay unseen.

    `gradient_checkpointing` keeps only the input of each layer for the backward pass, which computes the layer again.
    It trades operations for memory and gives the same gradient. `lora_rank` freezes the model and trains adapters of
    that rank (LoRA, arXiv 2106.09685) beside every linear layer except the output embedding, at the common alpha =
    2 x rank. Null trains everything. Adapters are float32 whatever the model's dtype, and need a higher learning
    rate. A value head is trained in full; a critic with its own network has its own adapters.

    `dtype` bfloat16 is the type of the matrix products of every pass and of the key/value cache. A run with adapters
    also loads its frozen weights in it. Trained weights, their gradients and moments stay float32: a bfloat16 weight
    would lose steps smaller than 1/256 of it.
    """

    completions: int = Field(12_800, ge=1)
    prompts_per_update: int = Field(16, ge=1)
    group_size: int = Field(8, ge=1)
    max_new_tokens: int | None = Field(None, ge=1)
    chat: Chat = Chat()
    temperature: float = Field(1.0, gt=0)
    epochs: int = Field(1, ge=1)
    mini_batches: int = Field(2, ge=1)
    learning_rate: float = Field(4e-4, gt=0)
    warmup_completions: int = Field(640, ge=0)
    max_grad_norm: float = Field(1.0, gt=0)
    beta: float = Field(0.01, ge=0)
    clip_low: float = Field(0.2, gt=0, lt=1)
    clip_high: float = Field(0.2, gt=0)
    dual_clip: float | None = None
    top_p: float = Field(1.0, gt=0, le=1)
    top_k: int = Field(0, ge=0)
    min_p: float = Field(0.0, ge=0, lt=1)
    importance_correction: bool = Field(False, validate_default=True)
    micro_batch_tokens: int = Field(2048, ge=1)
    rollout_rows: int | None = Field(None, ge=1)
    gradient_checkpointing: bool = False
    lora_rank: int | None = Field(None, ge=1)
    dtype: Literal["float32", "bfloat16"] = "float32"

    @field_validator("dual_clip")
    @classmethod
    def _dual_clip_leaves_the_ordinary_clip_alone(cls, dual: float | None) -> float | None:
        if dual is not None and dual <= 1:
            raise ValueError(
                "should be above 1, or null for none: it bounds the loss of a bad token whose probability rose, and at "
                "1 or below it would silence tokens whose probability did not move; arXiv 1912.09729 uses 3"
            )
        return dual

    @field_validator("importance_correction")
    @classmethod
    def _truncated_sampling_is_corrected(cls, corrected: bool, info: ValidationInfo) -> bool:
        for name, off in {"top_p": 1.0, "top_k": 0, "min_p": 0.0}.items():
            if (value := info.data.get(name, off)) != off and not corrected:
                raise ValueError(
                    f"should be true where {name} is {value}: a truncated sampler draws from another distribution than "
                    f"the policy that learns; or set {name} to {off}"
                )
        return corrected

    @property
    def clip(self) -> Clip:
        """The bounds of the ratio."""
        return Clip(low=self.clip_low, high=self.clip_high, dual=self.dual_clip)

    @property
    def start_dtype(self) -> str:
        """The type in which a run loads the start model."""
        return "float32" if self.lora_rank is None else self.dtype

    @property
    def batch_completions(self) -> int:
        """Completions of one update."""
        return self.prompts_per_update * self.group_size

    @property
    def updates(self) -> int:
        """Updates in the budget, without a last partial batch."""
        return self.completions // self.batch_completions


class CriticConfig(Frozen):
    """The network that gives V(s), and how it learns.

    `kind` "head" is a linear layer on the policy's own trunk, "model" a separate network that starts
    as a copy of the start model's trunk. `detach` keeps the value loss out of a shared trunk.
    `learning_rate_ratio` makes its learning rate so many times the policy's, in the place of `learning_rate`: for arms
    whose tasks have rates of their own. During the first `warmup_updates` only the critic learns, and a shared trunk
    does not change.
    `bootstrap_truncated` uses V after the last token as the value of what would have followed a completion
    that was cut at the length limit. Otherwise such a completion counts as ended.

    `bounds` are the least and the largest value: V = low + (high - low) * sigmoid of the head's output, which starts
    half way (values within the reward's range: BPCO, arXiv 2608.23566). No task says its rewards' range, so it is
    written out: [0, 1] for a rule that is right or wrong. A penalty in the reward may leave it, and a reward model has
    none.
    `passes` is how often the critic goes over a batch for each time that the policy does (2 in SAO, arXiv 2607.07508,
    section 3.2). Those beyond the first follow the policy's, and a shared trunk does not change in them.
    `frozen_attention` keeps the attention of a network of its own as it starts (SAO, section 3.2); the rest learns.

    `start` is the `critic` folder of a run that was saved, from which the critic sets out: values learnt beforehand on
    completions of the start model (VC-PPO, arXiv 2503.01491, section 3.2), once for many runs. Where tasks have start
    models of their own it names a folder for each, by task.
    """

    kind: Literal["head", "model"] = "head"
    learning_rate: float = Field(1e-3, gt=0)
    learning_rate_ratio: float | None = Field(None, gt=0)
    detach: bool = False
    warmup_updates: int = Field(0, ge=0)
    bootstrap_truncated: bool = False
    bounds: tuple[float, float] | None = None
    passes: int = Field(1, ge=1)
    frozen_attention: bool = False
    start: str | dict[str, str] | None = None

    def rate(self, policys: float) -> float:
        """The critic's learning rate beside the policy's."""
        return self.learning_rate if self.learning_rate_ratio is None else self.learning_rate_ratio * policys

    @field_validator("bounds")
    @classmethod
    def _bounds_enclose_values(cls, bounds: tuple[float, float] | None) -> tuple[float, float] | None:
        if bounds is not None and not -math.inf < bounds[0] < bounds[1] < math.inf:
            raise ValueError("should be the least and the largest reward, such as [0, 1], or null for none")
        return bounds

    @model_validator(mode="after")
    def _a_head_has_no_attention_of_its_own(self) -> CriticConfig:
        if self.frozen_attention and self.kind == "head":
            raise ValueError("frozen_attention: a head has no attention; set kind to model, or leave it out")
        return self


@dataclass(frozen=True, slots=True)
class Needs:
    """What an algorithm asks of the trainer besides a policy and scored rollouts.

    `group` is true if a completion is compared with others of its prompt. `reference` is the policy that the KL
    penalty refers to: the start model, or the policy before the update. With `exact_kl` the KL to it is summed
    over the vocabulary. With `ratio_to_sampler` the losses' `logp_old` is the log-probability under the distribution
    drawn from, which a truncated sampler makes another than the policy's. With `sampling_rounds` above 1, prompts are
    drawn again until every group of the batch has rewards that differ, in at most that many rounds. `continuations`
    fresh completions from every `step_tokens`-th prefix estimate V.
    """

    group: bool = False
    critic: CriticConfig | None = None
    reference: Literal["initial", "previous_step"] = "initial"
    exact_kl: bool = False
    ratio_to_sampler: bool = False
    sampling_rounds: int = 1
    continuations: int = 0
    step_tokens: int = 1
