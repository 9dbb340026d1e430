"""Stop strings: texts that end a completion, whichever tokens they are made of."""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class Stops:
    """The texts that end a completion, as a tokenizer writes them. The tokens up to there are the completion's."""

    tokenizer: PreTrainedTokenizerBase
    texts: tuple[str, ...]

    @property
    def reach_tokens(self) -> int:
        """The most tokens that one of the texts can begin in: a token that is read has a byte at least."""
        return max(len(text.encode()) for text in self.texts) + 1

    def said(self, tails: list[list[int]]) -> list[bool]:
        """Whether the last tokens of each completion hold one of the texts."""
        written = self.tokenizer.batch_decode(tails, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return [any(stop in text for stop in self.texts) for text in written]
