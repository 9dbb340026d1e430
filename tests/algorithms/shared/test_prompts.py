"""Problems become token ids: by a chat template, or as plain text with the tokenizer's own special tokens."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError
from transformers import PreTrainedTokenizerFast

from ppo_vs_grpo.algorithms.shared.config import Chat, TrainConfig
from ppo_vs_grpo.algorithms.shared.prompts import encode
from ppo_vs_grpo.benchmarks.models.tiny import tokenizer
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import UserError

TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}[{{ m['role'] }}]{{ m['content'] }}{% if not loop.last or m['role'] != "
    "'assistant' %}{{ eos_token }}{% endif %}{% endfor %}{% if add_generation_prompt %}[assistant]"
    "{% if thinks %}(hm){% endif %}{% endif %}"
)
"""Begins with the begin token and ends each turn, as Llama's and Qwen's do."""

SUM = Problem("2+2=")
TALK = Problem("a", messages=({"role": "system", "content": "S"}, {"role": "user", "content": "Q"}))


def chatting(template: str = TEMPLATE) -> PreTrainedTokenizerFast:
    """The characters' tokenizer with a chat template, and one that adds the begin token to plain text."""
    from tokenizers.processors import TemplateProcessing

    characters = tokenizer()
    characters.backend_tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    characters.chat_template = template
    return characters


def read(problem: Problem, chat: Any = None, characters: PreTrainedTokenizerFast | None = None) -> str:
    characters = characters or chatting()
    (ids,) = encode(characters, [problem], Chat.model_validate({} if chat is None else chat)).ids
    return str(characters.decode(list(ids)))


@pytest.mark.parametrize(
    ("problem", "chat", "text"),
    [
        (SUM, {}, "<s>[user]2+2=</s>[assistant]"),
        (SUM, {"system": "Add."}, "<s>[system]Add.</s>[user]2+2=</s>[assistant]"),
        (
            SUM,
            {"system": "Add.", "examples": {"3+4=": "7", "1+1=": "2"}},
            "<s>[system]Add.</s>[user]3+4=</s>[assistant]7</s>[user]1+1=</s>[assistant]2</s>[user]2+2=</s>[assistant]",
        ),
        (TALK, {"examples": {"3+4=": "7"}}, "<s>[system]S</s>[user]Q</s>[assistant]"),
        (SUM, {"variables": {"thinks": True}}, "<s>[user]2+2=</s>[assistant](hm)"),
        (SUM, "off", "<s>2+2="),
        (SUM, False, "<s>2+2="),
        (TALK, {}, "<s>[system]S</s>[user]Q</s>[assistant]"),
        (
            Problem("b", messages=({"role": "user", "content": "Q"}, {"role": "assistant", "content": "It is"})),
            {},
            "<s>[user]Q</s>[assistant]It is",
        ),
    ],
)
def test_a_prompt_is_rendered_once_with_one_begin_token(problem: Problem, chat: Any, text: str) -> None:
    assert read(problem, chat) == text


def test_without_a_template_a_prompt_is_its_text() -> None:
    assert encode(tokenizer(), [SUM]).ids == (tuple(tokenizer()("2+2=")["input_ids"]),)


def test_a_begin_token_that_is_written_out_is_not_added_again() -> None:
    assert read(Problem("<s>2+2="), "off") == "<s>2+2="
    assert read(Problem("2<s>+2="), "off") == "<s>2<s>+2="


def test_a_prompt_that_ends_with_the_end_token_is_refused() -> None:
    with pytest.raises(UserError, match=r"the prompt '2\+2=' ends with the end token; its tokenizer or template adds"):
        read(SUM, {}, chatting("{{ messages[0]['content'] }}{{ eos_token }}"))


def test_a_prompt_without_a_token_is_refused() -> None:
    with pytest.raises(UserError, match=r"the prompt '' has no token"):
        encode(tokenizer(), [Problem("")])


def test_a_conversation_needs_a_template() -> None:
    with pytest.raises(UserError, match="'a' is a conversation, and the tokenizer has no chat template"):
        encode(tokenizer(), [TALK])
    with pytest.raises(UserError, match=r"'a' is a conversation, and train\.chat\.template is off"):
        read(TALK, "off")


def test_two_system_prompts_are_one_too_many() -> None:
    with pytest.raises(UserError, match=r"train\.chat\.system: the conversation 'a' has a system prompt of its own"):
        read(TALK, {"system": "Add."})


def test_a_system_prompt_without_a_template_is_refused() -> None:
    with pytest.raises(UserError, match=r"train\.chat: the start model's tokenizer has no chat template"):
        encode(tokenizer(), [SUM], Chat(system="Add."))
    with pytest.raises(UserError, match=r"train\.chat: the start model's tokenizer has no chat template"):
        encode(tokenizer(), [SUM], Chat(examples={"3+4=": "7"}))


def test_what_a_template_raises_is_said() -> None:
    refuses = chatting("{{ raise_exception('only user turns') }}")
    with pytest.raises(UserError, match=r"refuses the prompt '2\+2=' \(TemplateError: only user turns\)"):
        read(SUM, {}, refuses)


def test_chat_is_a_setting_that_says_what_would_be_right() -> None:
    assert TrainConfig.model_validate({"chat": False}).chat == Chat(template="off")
    for wrong in (
        {"template": "off", "system": "Add."},
        {"template": "off", "examples": {"1": "2"}},
        "sometimes",
        {"tools": []},
    ):
        with pytest.raises(ValidationError):
            TrainConfig.model_validate({"chat": wrong})
