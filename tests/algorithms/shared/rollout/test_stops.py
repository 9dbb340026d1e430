"""A completion ends once it has said a stop string, and is scored without it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from copying import Copying, llama, prompts, uniforms
from one_step import arm
from ppo_vs_grpo.algorithms.shared.rollout.engine import HuggingFaceEngine
from ppo_vs_grpo.algorithms.shared.rollout.stops import Stops
from ppo_vs_grpo.algorithms.shared.scoring import stops_of, texts
from ppo_vs_grpo.algorithms.shared.trainer import Trainer
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.tasks.errors import UserError
from small_trainer import TRAIN, VOCABULARY

PAD, END = 0, 2
LETTERS = tokenizer()("ab\nc")["input_ids"]


def babbler() -> Any:
    """A model that says a, b, c and line breaks, rarely the end."""
    model = llama(vocab_size=VOCABULARY, hidden_size=32, pad_token_id=PAD, eos_token_id=END)
    with torch.no_grad():
        model.lm_head.weight.mul_(0.02)
    never_V = torch.full((VOCABULARY,), -30.0)
    never_V[LETTERS], never_V[END] = 0.0, -3.0

    def mostly_letters(module: Any, inputs: Any, output: Any) -> None:
        output.logits += never_V

    model.register_forward_hook(mostly_letters)
    return model


@pytest.mark.parametrize("places", [None, 7])
@pytest.mark.parametrize("static", [False, True])
def test_rows_stop_where_the_text_first_holds_a_stop_string(places: int | None, static: bool) -> None:
    model, characters = babbler(), tokenizer()
    asked, numbers = prompts((30, 31), (40, 41, 42)), uniforms(30, 64)
    options: dict[str, Any] = {"rows_at_once": places, "static": static}
    plain = HuggingFaceEngine(model, PAD, (END,), 30, 1.0, **options).generate(asked, 32, numbers)
    stops = Stops(characters, ("b\n", "ccc"))
    stopped = HuggingFaceEngine(model, PAD, (END,), 30, 1.0, stops=stops, **options).generate(asked, 32, numbers)
    whole, found = texts(plain, characters), texts(stopped, characters, stops.texts)
    kinds = set()
    for row, (full, text) in enumerate(zip(whole, found, strict=True)):
        at = min((full.find(stop) for stop in stops.texts if stop in full), default=None)
        tokens = int(stopped.mask_BT[row].sum())
        if at is None:
            kinds.add("unstopped")
            assert (text, bool(stopped.ended_B[row])) == (full, bool(plain.ended_B[row]))
        else:
            kinds.add("stopped")
            said = full[: at + len(next(stop for stop in stops.texts if full.startswith(stop, at)))]
            assert text == full[:at]
            assert bool(stopped.ended_B[row])
            assert tokens == len(said)
        assert torch.equal(stopped.completion_BT[row, :tokens], plain.completion_BT[row, :tokens])
        assert torch.allclose(stopped.logp_BT[row, :tokens], plain.logp_BT[row, :tokens], atol=1e-5)
    assert kinds == {"stopped", "unstopped"}


def test_a_stop_string_may_lie_across_many_tokens() -> None:
    assert Stops(tokenizer(), ("</answer>", "é")).reach_tokens == 10
    ids = tokenizer()("xx</answer>")["input_ids"]
    assert Stops(tokenizer(), ("</answer>",)).said([ids[-9:], ids[-8:], ids[:-1]]) == [True, False, False]


class Halting(Copying):
    stop = ("b",)


def test_a_trainer_stops_where_its_task_says() -> None:
    trainer = Trainer(babbler(), tokenizer(), Halting(), arm("grpo", TRAIN), TRAIN, seed=0)
    rollouts = next(trainer.updates(1)).scored.rollouts
    written = texts(rollouts, tokenizer(), ("b",))
    assert not any("b" in text for text in written)
    b = tokenizer()("b")["input_ids"][0]
    said_B = (rollouts.completion_BT == b).logical_and(rollouts.mask_BT).any(1)
    assert said_B.any()
    assert bool(rollouts.ended_B[said_B].all())


@pytest.mark.parametrize("wrong", ["b", ("b", ""), (1,)])
def test_what_is_no_list_of_texts_is_refused(wrong: Any) -> None:
    task = Copying()
    task.stop = wrong  # type: ignore[attr-defined]
    with pytest.raises(UserError, match=r"stop is .*; it should be a list of texts, none of them empty"):
        stops_of(task)
