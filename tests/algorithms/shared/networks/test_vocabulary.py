"""Tokens that decode to nothing are never sampled and never likely."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import BertConfig, BertModel, PreTrainedModel

from copying import Copying, llama, prompts, uniforms
from model_rows import model, rows
from one_step import arm
from ppo_vs_grpo.algorithms.shared.agreement import check_agreement
from ppo_vs_grpo.algorithms.shared.networks import likelihood as reading
from ppo_vs_grpo.algorithms.shared.networks.attention import read_packed
from ppo_vs_grpo.algorithms.shared.networks.likelihood import likelihood, logp
from ppo_vs_grpo.algorithms.shared.networks.sequences import pack
from ppo_vs_grpo.algorithms.shared.networks.vocabulary import NEVER, silence, unreadable, vocabulary_tokens
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine, Truncation, sample_tokens
from ppo_vs_grpo.algorithms.shared.scoring import texts
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import CHARACTERS, tokenizer
from ppo_vs_grpo.tasks.errors import UserError
from small_trainer import TRAIN

PAD, BEGIN, END, UNKNOWN = range(4)
KNOWN = len(CHARACTERS) + 4
ROUNDED = KNOWN + 8


def rounded_up() -> PreTrainedModel:
    """A Llama whose vocabulary has eight ids that no token has, and which prefers them and special tokens."""
    made = llama(vocab_size=ROUNDED, hidden_size=32, pad_token_id=PAD, eos_token_id=END)
    with torch.no_grad():
        made.lm_head.weight.mul_(0.1)
        made.lm_head.weight[[PAD, BEGIN, UNKNOWN, *range(KNOWN, ROUNDED)]] *= 40
    return made


def test_what_decodes_to_nothing_is_unreadable_but_for_the_end() -> None:
    assert unreadable(rounded_up(), tokenizer(), (END,)) == (PAD, BEGIN, UNKNOWN, *range(KNOWN, ROUNDED))
    assert unreadable(rounded_up(), tokenizer(), (END, PAD)) == (BEGIN, UNKNOWN, *range(KNOWN, ROUNDED))


def test_a_special_token_that_was_added_is_unreadable_and_a_plain_one_is_not() -> None:
    characters = tokenizer()
    characters.add_tokens(["<think>"])
    characters.add_special_tokens({"additional_special_tokens": ["<tool>"]})
    thinks, uses = characters.convert_tokens_to_ids(["<think>", "<tool>"])
    found = unreadable(rounded_up(), characters, (END,))
    assert uses in found
    assert thinks not in found


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_every_sampled_token_is_read(temperature: float) -> None:
    policy, characters = rounded_up(), tokenizer()
    loud = HuggingFaceEngine(policy, PAD, (END,), 12, temperature)
    asked, numbers = prompts((30, 31), (40, 41, 42)), uniforms(12, 64)
    dropped = unreadable(policy, characters, (END,))
    assert torch.isin(loud.generate(asked, 32, numbers).completion_BT, torch.tensor(dropped)).any()
    silence(policy, dropped)
    rollouts = loud.generate(asked, 32, numbers)
    said = rollouts.completion_BT[rollouts.mask_BT]
    assert not torch.isin(said, torch.tensor(dropped)).any()
    lengths = (rollouts.mask_BT.sum(1) - rollouts.ended_B.long()).tolist()
    assert [len(text) for text in texts(rollouts, characters)] == lengths


def test_the_probabilities_of_what_is_read_sum_to_one() -> None:
    policy = rounded_up()
    dropped = list(unreadable(policy, tokenizer(), (END,)))
    silence(policy, dropped)
    with torch.no_grad():
        log_probs_V = torch.log_softmax(policy(input_ids=torch.tensor([[30, 31]])).logits[0, -1], -1)
    assert float(log_probs_V.exp()[dropped].sum()) == 0
    kept = [token for token in range(ROUNDED) if token not in dropped]
    assert float(log_probs_V.exp()[kept].sum()) == pytest.approx(1.0)


@pytest.mark.parametrize("chunk", [None, 7])
def test_likelihood_is_that_of_the_silenced_model_and_finite(
    monkeypatch: pytest.MonkeyPatch, chunk: int | None
) -> None:
    if chunk:
        monkeypatch.setattr(reading, "chunk_tokens", lambda vocabulary: chunk)
    policy = model("llama")
    silence(policy, (5, 23))
    reference = copy.deepcopy(policy)
    read_packed(policy)
    read_packed(reference)
    sequences = rows()
    packed = pack(sequences, torch.arange(len(sequences.ids_BL)))
    told = likelihood(policy, packed, 0.7, reference)
    assert told.entropy_N.isfinite().all()
    assert told.kl_N is not None
    assert float(told.kl_N.detach().abs().max()) < 1e-6
    said = torch.isin(packed.targets_N, torch.tensor([5, 23]))
    assert said.any()
    assert float(told.logp_N.detach()[said].max()) < NEVER / 2
    told.logp_N[~said].sum().backward()
    gradient_VH = policy.get_output_embeddings().weight.grad
    assert gradient_VH is not None
    assert gradient_VH.isfinite().all()
    assert torch.equal(logp(policy, packed, 0.7), packed.unflatten(told.logp_N).detach())


def test_policy_reference_and_the_plain_pass_are_silenced_alike() -> None:
    train = TRAIN.model_copy(update={"mini_batches": 1})  # so that the KL is measured before the only step
    trainer = Trainer(rounded_up(), tokenizer(), Copying(), arm("ppo", train), train, seed=0)
    check_agreement(trainer.engine, trainer.models, prompts((30, 31, 32), (40, 41, 42, 43)))
    record = next(trainer.updates(1))
    assert record.metrics["kl_reference"] == pytest.approx(0, abs=1e-6)
    assert record.metrics["ratio_error_max"] < 1e-4
    dropped = unreadable(rounded_up(), tokenizer(), (END,))
    rollouts = record.scored.rollouts
    assert not torch.isin(rollouts.completion_BT[rollouts.mask_BT], torch.tensor(dropped)).any()


@pytest.mark.parametrize("truncation", [Truncation(), Truncation(top_k=3), Truncation(top_p=0.9)])
def test_the_largest_random_number_takes_a_token_that_can_be_said(truncation: Truncation) -> None:
    logits_bV = torch.randn((4096, 50), generator=torch.Generator().manual_seed(0))
    logits_bV[:, -5:] = NEVER
    almost_one_b = torch.full((4096,), 1 - 2**-24)
    token_b, logp_b, _ = sample_tokens(logits_bV, almost_one_b, 1.0, truncation)
    assert int(token_b.max()) < 45
    assert float(logp_b.min()) > -50


def test_a_model_without_output_embedding_is_named() -> None:
    encoder = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    with pytest.raises(UserError, match="BertModel has no output embedding, so it is not a causal language model"):
        vocabulary_tokens(encoder)
