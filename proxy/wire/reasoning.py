"""Reasoning that a model wrote into its text, taken apart from the answer, piece by piece as it comes."""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

_NEWLINES = "\r\n"


class Tokens(NamedTuple):
    """What marks reasoning in a text, and what counts as such."""

    start: str | None = "<think>"
    """None where templates put it into the prompt."""
    end: str = "</think>"
    require_start: bool = False
    """Whether only a text that begins with the start token has reasoning."""
    keep_unfinished: bool = True
    """Whether reasoning without an end stays in the text as it is."""


class Parts(NamedTuple):
    """A piece of text, taken apart."""

    reasoning: str = ""
    content: str = ""


class _Phase(Enum):
    UNDECIDED = 0
    REASONING = 1
    CONTENT = 2


class Splitter:
    """Takes one text apart. The first token decides: reasoning is what is up to the first end token after it.

    An end token that comes first ends reasoning that the prompt began. A text without tokens is content. The tokens,
    newlines next to them and nothing else are lost.
    """

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens
        self._phase = _Phase.UNDECIDED
        self._held = ""
        self._unchanged = ""  # all that came, while reasoning may still turn out to be unfinished
        self._at_start = True  # of the reasoning, or of the content behind it: newlines there are dropped
        self.started = False
        self.finished = False

    def feed(self, text: str) -> Parts:
        """Return what is decided by now."""
        if self._phase is _Phase.CONTENT:
            return Parts(content=self._trimmed(text))
        longest = max(len(self._tokens.start or ""), len(self._tokens.end))
        look_from = max(0, len(self._held) - longest)  # no token ends before it: a long text is searched once
        self._unchanged += text
        self._held += text
        return self._undecided(look_from) if self._phase is _Phase.UNDECIDED else self._reasoning(look_from)

    def finish(self) -> Parts:
        """Return what was held back."""
        held, self._held = self._held, ""
        phase, self._phase = self._phase, _Phase.CONTENT
        if phase is _Phase.REASONING and not self._tokens.keep_unfinished:
            return Parts(reasoning=held)
        return Parts(content=self._unchanged if phase is _Phase.REASONING else held)

    def _undecided(self, look_from: int) -> Parts:
        tokens, text = self._tokens, self._held
        if tokens.require_start:
            begins = len(text) - len(text.lstrip())
            start = begins if tokens.start and text.startswith(tokens.start, begins) else -1
            if start < 0 and not (tokens.start or "").startswith(text[begins:]):
                self._phase, self._at_start, self._held = _Phase.CONTENT, False, ""
                return Parts(content=text)
        else:
            start = text.find(tokens.start, look_from) if tokens.start else -1
            end = text.find(tokens.end, look_from)
            if end >= 0 and (start < 0 or end < start):
                self._phase = _Phase.REASONING
                return self._reasoning()
        if start < 0:
            return Parts()
        self._phase = _Phase.REASONING
        self.started = True
        self._held = text[:start] + text[start + len(tokens.start or "") :]
        return self._reasoning()

    def _reasoning(self, look_from: int = 0) -> Parts:
        text, end = self._held, self._held.find(self._tokens.end, look_from)
        if end >= 0:
            reasoning = self._trimmed(text[:end]).rstrip(_NEWLINES)
            self.started = self.finished = True
            self._phase, self._at_start, self._held = _Phase.CONTENT, True, ""
            return Parts(reasoning, self._trimmed(text[end + len(self._tokens.end) :]))
        if self._tokens.keep_unfinished:
            return Parts()
        kept = _beginning_of(self._tokens.end, text)
        ready = text[: len(text) - kept]
        self._held = ready[len(ready.rstrip(_NEWLINES)) :] + text[len(text) - kept :]
        return Parts(reasoning=self._trimmed(ready.rstrip(_NEWLINES)))

    def _trimmed(self, text: str) -> str:
        if self._at_start:
            text = text.lstrip(_NEWLINES)
            self._at_start = not text
        return text


def _beginning_of(token: str, text: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `token`."""
    return next((size for size in range(min(len(token) - 1, len(text)), 0, -1) if token.startswith(text[-size:])), 0)
