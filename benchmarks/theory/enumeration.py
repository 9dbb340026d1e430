"""A token MDP so small that every completion can be written down: exact values, gradients, biases and variances.

It has two prompts, three tokens of which one ends a completion, and completions of at most three tokens: 15 per prompt.
The policy is a recurrent network in float64. An estimator's mean over samples is a finite sum here, so a formula can be
checked to rounding, without sampling noise.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import torch
from torch import Tensor

PROMPTS, VOCABULARY, LENGTH, HIDDEN, END = 2, 3, 3, 4, 0


@dataclass(frozen=True, slots=True)
class Policy:
    """Weights of the recurrent policy, one flat vector, (D,) float64.

    h_0 is the prompt's row, h_{t+1} = tanh(W h_t + e(token_t)), logits = U h_t.
    """

    theta_D: Tensor

    @staticmethod
    def random(seed: int, scale: float = 1.0) -> Policy:
        """Normal weights from their own generator."""
        count = PROMPTS * HIDDEN + HIDDEN * HIDDEN + 2 * VOCABULARY * HIDDEN
        generator = torch.Generator().manual_seed(seed)
        return Policy(scale * torch.randn(count, dtype=torch.float64, generator=generator))

    def log_probs(self, prompt_B: Tensor, completion_BT: Tensor) -> Tensor:
        """Log-probabilities of every next token before each position: (B, T, V)."""
        sizes = [PROMPTS * HIDDEN, HIDDEN * HIDDEN, VOCABULARY * HIDDEN, VOCABULARY * HIDDEN]
        start, recur, embed, unembed = self.theta_D.split(sizes)
        state_BH = start.view(PROMPTS, HIDDEN)[prompt_B]
        logits = []
        for t in range(completion_BT.shape[1]):
            logits.append(state_BH @ unembed.view(VOCABULARY, HIDDEN).T)
            token_BH = embed.view(VOCABULARY, HIDDEN)[completion_BT[:, t]]
            state_BH = torch.tanh(state_BH @ recur.view(HIDDEN, HIDDEN).T + token_BH)
        return torch.log_softmax(torch.stack(logits, 1), -1)


@dataclass(frozen=True, slots=True)
class Enumeration:
    """Every completion of every prompt, (B, ...) with B = prompts * completions, its reward, and the policy."""

    policy: Policy
    prompt_B: Tensor
    completion_BT: Tensor
    mask_BT: Tensor
    rewards_B: Tensor

    def logp_BT(self, policy: Policy | None = None) -> Tensor:
        """Log-probability of each token under a policy, this one's by default; 0 outside the mask."""
        log_probs_BTV = (policy or self.policy).log_probs(self.prompt_B, self.completion_BT)
        return log_probs_BTV.gather(2, self.completion_BT[:, :, None])[:, :, 0] * self.mask_BT

    @property
    def probability_B(self) -> Tensor:
        """Probability of each completion given its prompt; sums to 1 per prompt."""
        return self.logp_BT().sum(1).exp()

    def expected_reward(self, policy: Policy | None = None) -> Tensor:
        """J: the mean over prompts of the expected reward, differentiable in the policy."""
        return (self.logp_BT(policy).sum(1).exp() * self.rewards_B).sum() / PROMPTS

    def gradient_D(self) -> Tensor:
        """The exact gradient of J."""
        gradient: Tensor = torch.func.grad(lambda theta: self.expected_reward(Policy(theta)))(self.policy.theta_D)
        return gradient

    def scores_BTD(self) -> Tensor:
        """Gradient of each token's log-probability; 0 outside the mask."""
        jacobian: Tensor = torch.func.jacrev(lambda theta: self.logp_BT(Policy(theta)))(self.policy.theta_D)
        return jacobian

    def values_BT(self) -> Tensor:
        """The expected reward given the prompt and the tokens before each position; 0 outside the mask."""
        values_BT = torch.zeros(self.mask_BT.shape, dtype=torch.float64)
        for t in range(LENGTH):
            same_BB = self.prompt_B[:, None] == self.prompt_B
            for earlier in range(t):
                same_BB = same_BB & (self.completion_BT[:, None, earlier] == self.completion_BT[None, :, earlier])
            weight_BB = same_BB * self.probability_B
            values_BT[:, t] = (weight_BB * self.rewards_B).sum(1) / weight_BB.sum(1)
        return values_BT * self.mask_BT


def enumerate_all(seed: int = 0, scale: float = 1.0) -> Enumeration:
    """An MDP with random rewards in [0, 1) and a random policy."""
    bodies = [tokens for tokens in itertools.product(range(VOCABULARY), repeat=LENGTH) if _canonical(tokens)]
    completion_BT = torch.tensor(bodies * PROMPTS)
    ended_BT = (completion_BT == END).cumsum(1) - (completion_BT == END).int()
    prompt_B = torch.arange(PROMPTS).repeat_interleave(len(bodies))
    generator = torch.Generator().manual_seed(seed)
    rewards_B = torch.rand(len(prompt_B), dtype=torch.float64, generator=generator)
    return Enumeration(Policy.random(seed, scale), prompt_B, completion_BT, ended_BT == 0, rewards_B)


def _canonical(tokens: tuple[int, ...]) -> bool:
    """Whether all tokens after the first end token are end tokens."""
    return END not in tokens or set(tokens[tokens.index(END) :]) == {END}
