"""A task and models small enough to reason about, for the tests of this folder."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from ppo_vs_grpo.algorithms.shared.types import Prompts
from ppo_vs_grpo.tasks.base import Problem, Score

VOCABULARY, PAD, END = 16, 0, 1


class Copying:
    """Write the prompt's first letter; any other letter scores 0."""

    name: ClassVar[str] = "copying"
    version: ClassVar[int] = 1
    max_new_tokens: int = 4
    best_score: float = 1.0

    def draw(self, rng: np.random.Generator) -> Problem:
        """One to four letters and a colon."""
        letters = "".join(rng.choice(list("abcdefgh"), size=int(rng.integers(1, 5))))
        return Problem(f"{letters}:", {"letter": letters[0]})

    def demonstrate(self, problem: Problem, rng: np.random.Generator) -> str:
        """Any letter."""
        return str(rng.choice(list("abcdefgh")))

    def score(self, problem: Problem, completion: str) -> Score:
        """1 when the completion begins with the letter."""
        passed = completion[:1] == problem.facts["letter"]
        return Score(float(passed), passed, {"length": float(len(completion))})


def llama(seed: int = 0, **changes: int) -> LlamaForCausalLM:
    """A random Llama shape of 4k parameters; weights large enough that logits differ."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        **{
            "vocab_size": VOCABULARY,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 2,
            "intermediate_size": 32,
            "initializer_range": 0.3,
            "pad_token_id": PAD,
            "eos_token_id": END,
            **changes,
        }
    )
    return LlamaForCausalLM(config).eval()


def gpt2(seed: int = 0, vocab_size: int = VOCABULARY) -> GPT2LMHeadModel:
    """A random GPT-2 shape: learned positions, dropout in its config."""
    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=vocab_size, n_embd=16, n_layer=2, n_head=2, n_positions=64, initializer_range=0.3)
    return GPT2LMHeadModel(config).eval()


def prompts(*ids: tuple[int, ...]) -> Prompts:
    """Prompts by their token ids."""
    return Prompts(tuple(Problem(str(row)) for row in ids), tuple(ids))


def uniforms(tokens: int, rows: int, seed: int = 0) -> np.ndarray:
    """Random numbers for a rollout."""
    return np.random.default_rng(seed).random((tokens, rows), dtype=np.float32)


def whole_logp(
    model: PreTrainedModel, prompt: tuple[int, ...], completion: list[int], temperature: float
) -> list[float]:
    """Log-probabilities of one completion by one plain forward pass, unpadded: the oracle."""
    ids = torch.tensor([[*prompt, *completion]])
    with torch.no_grad():
        logits = model(input_ids=ids).logits[0].float() / temperature
    log_probs = torch.log_softmax(logits, -1)
    return [float(log_probs[len(prompt) - 1 + t, token]) for t, token in enumerate(completion)]
