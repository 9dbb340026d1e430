"""From problems to token ids: the chat template, and the special tokens around a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from ppo_vs_grpo.algorithms.shared.config import Chat
from ppo_vs_grpo.algorithms.shared.types import Prompts
from ppo_vs_grpo.tasks.base import Problem
from ppo_vs_grpo.tasks.errors import BRIEF, UserError, shown

AUTO = Chat()


def encode(tokenizer: PreTrainedTokenizerBase, problems: Sequence[Problem], chat: Chat = AUTO) -> Prompts:
    """Problems as the model reads them: rendered by its chat template where it has one, else as plain text.

    Raises UserError as `rendered` does, and where a prompt would end with the end token: a model that reads one has
    been told that the text is over.
    """
    if renders(tokenizer, chat):
        texts = [rendered(tokenizer, problem, chat) for problem in problems]
        ids = tokenizer(texts, add_special_tokens=False)["input_ids"]
    else:
        for problem in problems:
            _refuse_conversation(problem, chat)
        ids = [_one_begin(tokenizer, row) for row in tokenizer([problem.prompt for problem in problems])["input_ids"]]
    for problem, row in zip(problems, ids, strict=True):
        if not row or row[-1] == tokenizer.eos_token_id:
            what = "ends with the end token" if row else "has no token"
            raise UserError(
                f"start: the prompt {shown(problem.prompt, BRIEF)} {what}; its tokenizer or template adds it"
            )
    return Prompts(tuple(problems), tuple(tuple(row) for row in ids))


def renders(tokenizer: PreTrainedTokenizerBase, chat: Chat) -> bool:
    """Whether prompts go through the tokenizer's chat template. UserError where they should and there is none."""
    if tokenizer.chat_template is None and chat.fills:
        raise UserError("train.chat: the start model's tokenizer has no chat template that could take it; leave it out")
    return chat.template == "auto" and tokenizer.chat_template is not None


def rendered(tokenizer: PreTrainedTokenizerBase, problem: Problem, chat: Chat) -> str:
    """A problem's conversation by the tokenizer's template, up to where the answer begins.

    A plain prompt is what the user says, after the examples. A conversation that ends with the assistant is continued
    there. UserError if the template refuses the conversation, or if a system prompt is set and the conversation has one
    of its own.
    """
    messages: list[Any] = list(problem.messages)
    if not messages:
        for question, answer in chat.examples.items():
            messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
        messages.append({"role": "user", "content": problem.prompt})
    if chat.system is not None:
        if messages[0]["role"] == "system":
            raise UserError(
                f"train.chat.system: the conversation {shown(problem.prompt, BRIEF)} has a system prompt of its own; "
                "leave one of them out"
            )
        messages.insert(0, {"role": "system", "content": chat.system})
    begun = messages[-1]["role"] == "assistant"
    try:
        text = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=not begun, continue_final_message=begun, **chat.variables
        )
    except Exception as error:  # a template raises what it likes
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise UserError(
            f"start: its chat template refuses the prompt {shown(problem.prompt, BRIEF)} ({reason})"
        ) from error
    return str(text)


def _refuse_conversation(problem: Problem, chat: Chat) -> None:
    if problem.messages:
        why = "train.chat.template is off" if chat.template == "off" else "the tokenizer has no chat template"
        raise UserError(f"start: the prompt {shown(problem.prompt, BRIEF)} is a conversation, and {why}")


def _one_begin(tokenizer: PreTrainedTokenizerBase, ids: Sequence[int]) -> Sequence[int]:
    """A text that has the begin token written out gets no second one from the tokenizer."""
    begin = tokenizer.bos_token_id
    return ids[1:] if begin is not None and list(ids[:2]) == [begin, begin] else ids
