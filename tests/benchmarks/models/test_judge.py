"""Reward models as judges: the same rewards as row by row, what they read, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    LlamaForSequenceClassification,
)

from ppo_vs_grpo.benchmarks.models import reward
from ppo_vs_grpo.benchmarks.models.judge import open_judge, written
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.tasks import rewards
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError
from ppo_vs_grpo.tasks.rewards.models import ModelReward

TEMPLATE = "{% for m in messages %}[{{ m['role'][0] }}]{{ m['content'] }}{% endfor %}{{ eos_token }}"
ASKED = [
    Problem("2+2="),
    Problem("12+30="),
    Problem("be brief\n\nhi", messages=({"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"})),
    Problem("a:"),
]
ANSWERS = ["4", "42, of course", "", "b"]

Make = Callable[..., Path]


@pytest.fixture
def saved(tmp_path: Path) -> Make:
    """Save a random reward model with a tokenizer, changed as asked."""

    def make(template: str | None = TEMPLATE, kind: Any = LlamaForSequenceClassification, **changes: Any) -> Path:
        words = tokenizer()
        words.chat_template = template
        settings = {"vocab_size": len(words), "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2}
        settings |= {"num_attention_heads": 2, "num_labels": 1, "max_position_embeddings": 64, "initializer_range": 0.5}
        torch.manual_seed(0)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            kind(LlamaConfig(**settings | changes)).save_pretrained(tmp_path)
        words.save_pretrained(tmp_path)
        return tmp_path

    return make


def alone(folder: Path, texts: list[str]) -> list[float]:
    """The oracle: each row by itself, without padding."""
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        rows = [torch.tensor([words(text, add_special_tokens=False)["input_ids"]]) for text in texts]
        model.config.pad_token_id = None  # so it reads the last token, whatever that is
        return [float(model(row).logits[0, 0]) for row in rows]


@pytest.mark.parametrize(
    ("template", "given", "read"),
    [
        (
            TEMPLATE,
            {},
            ["[u]2+2=[a]4</s>", "[u]12+30=[a]42, of course</s>", "[s]be brief[u]hi[a]</s>", "[u]a:[a]b</s>"],
        ),
        (None, {}, ["2+2=4", "12+30=42, of course", "be brief\n\nhi", "a:b"]),
        (TEMPLATE, {"template": "text"}, ["2+2=4", "12+30=42, of course", "be brief\n\nhi", "a:b"]),
        (
            None,
            {"template": "text+end", "batch": 3},
            ["2+2=4</s>", "12+30=42, of course</s>", "be brief\n\nhi</s>", "a:b</s>"],
        ),
    ],
)
def test_rewards_are_those_of_each_row_alone(
    saved: Make, template: str | None, given: dict[str, Any], read: list[str]
) -> None:
    folder = saved(template)
    words = AutoTokenizer.from_pretrained(folder)
    read = [text.replace("</s>", words.eos_token) for text in read]
    assert written(words, given.get("template", "auto"), ASKED, ANSWERS)[0] == read
    (asked,) = rewards.make({"model": str(folder)} | given).models
    found = open_judge(asked)(ASKED, ANSWERS)
    assert found == pytest.approx(alone(folder, read), abs=1e-5)
    assert len({round(value, 3) for value in found}) == 4, "all alike: a wrong row would not show"


@pytest.mark.parametrize(
    ("kind", "config"), [(GPT2ForSequenceClassification, GPT2Config), (BertForSequenceClassification, BertConfig)]
)
def test_padding_moves_no_position_and_is_not_read(saved: Make, kind: Any, config: Any) -> None:
    """GPT-2 counts positions from the first column; BERT reads what stands behind a token."""
    folder = saved(None)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.5}
    vocabulary = len(AutoTokenizer.from_pretrained(folder))
    kind(config(vocab_size=vocabulary, num_labels=1, **sizes)).save_pretrained(folder)
    (asked,) = rewards.make({"model": str(folder)}).models
    expected = alone(folder, ["2+2=4", "12+30=42, of course", "a:b"])
    assert open_judge(asked)([ASKED[0], ASKED[1], ASKED[3]], ["4", "42, of course", "b"]) == pytest.approx(
        expected, abs=1e-5
    )


def test_a_long_row_loses_its_beginning(saved: Make) -> None:
    folder = saved(None)
    (asked,) = rewards.make({"model": str(folder), "max_tokens": 5}).models
    assert open_judge(asked)([Problem("123456")], ["789"]) == pytest.approx(alone(folder, ["56789"]), abs=1e-5)
    (asked,) = rewards.make({"model": str(folder)}).models
    long = "ab" * 40
    assert open_judge(asked)([Problem(long)], [""]) == pytest.approx(alone(folder, [long[-64:]]), abs=1e-5)


def test_a_model_has_a_type_of_its_own(saved: Make) -> None:
    folder = saved()
    found = [open_judge(ModelReward("m", str(folder), dtype=kind))(ASKED, ANSWERS) for kind in ("float32", "bfloat16")]
    assert found[0] != found[1]
    assert found[1] == pytest.approx(found[0], abs=0.5)


def test_each_model_of_a_sum_gets_its_judge(saved: Make) -> None:
    folder = saved()

    class Rows:
        """A task under two readings of one model."""

        rewards = rewards.make(
            [{"model": str(folder), "name": "chat"}, {"model": str(folder), "name": "plain", "template": "text"}]
        )

    reward.give_judges(Rows(), folder, 0, "cpu")  # type: ignore[arg-type]
    (rated,) = Rows.rewards.rate([Problem("2+2=")], ["4"], [()])
    assert rated.parts["plain"] == pytest.approx(alone(folder, ["2+2=4"])[0], abs=1e-5)
    assert rated.reward == pytest.approx(rated.parts["chat"] + rated.parts["plain"])
    assert rated.parts["chat"] != rated.parts["plain"]


def without_pad_token(folder: Path) -> None:
    path = folder / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({key: value for key, value in settings.items() if key != "pad_token"}))


@pytest.mark.parametrize(
    ("changes", "given", "words"),
    [
        ({"num_labels": 3}, {}, "model: '.*': it has 3 labels; a reward model has one"),
        ({"kind": LlamaForCausalLM}, {}, "model: '.*': its file has no weights for score.weight; a model that was not"),
        ({}, {"max_tokens": 65}, "max_tokens: 65: the model '.*' reads 64"),
        ({}, {"device": "nowhere"}, "device: 'nowhere': "),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_judge_is_refused_with_one_message(
    saved: Make, changes: dict[str, Any], given: dict[str, Any], words: str
) -> None:
    (asked,) = rewards.make({"model": str(saved(**changes))} | given).models
    with pytest.raises(UserError, match=rf"^options\.reward\.{words}") as found:
        open_judge(asked)
    assert "\n" not in str(found.value)


def test_a_tokenizer_without_pad_token_and_a_folder_without_model_are_refused(saved: Make, tmp_path: Path) -> None:
    without_pad_token(folder := saved())
    with pytest.raises(UserError, match=r"options.reward.model: '.*': its tokenizer has no pad token; name one in its"):
        open_judge(ModelReward("m", str(folder)))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"options.reward.model: '.*empty': it cannot be loaded \(.*config.json"):
        open_judge(ModelReward("m", str(tmp_path / "empty")))
