"""What is probed: a route, a model, and how one asks it for a few tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from proxy.probing.answers import Ask
from proxy.wire import routes

MAX_TOKENS = "max_tokens"
MAX_COMPLETION_TOKENS = "max_completion_tokens"
TOKENS = 12
"""Of an answer, unless a check needs more."""

PATHS = {route: path for path, route in routes.PIPELINE.items()}

_STORIES = {
    routes.CHAT: "Write a story about a random animal.",
    routes.COMPLETIONS: "Once upon a time, there was",
}
"""What has many continuations, all of them long."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A route of an endpoint."""

    route: str
    model: str | None = None
    """None sends no model's name."""
    limit: str = MAX_TOKENS
    """What this server calls the limit of an answer's length."""
    takes_temperature: bool = True
    context_length: int | None = None
    """As the server's information routes tell it."""
    has_key: bool = False

    @property
    def story(self) -> str:
        """The prompt of most requests."""
        return _STORIES[self.route]

    def at(self, temperature: float) -> dict[str, Any]:
        """Return the field for a temperature, nothing where the server takes none: its own is then as good."""
        return {"temperature": temperature} if self.takes_temperature else {}

    def ask(self, prompt: Any = None, *, tokens: int | None = TOKENS, take: int = 0, **fields: Any) -> Ask:
        """Return a request for a few tokens.

        Args:
            prompt: the prompt, or the content of the user's message; the story where there is none.
            tokens: the limit of the answer; None sends none.
            take: which of several that say the same.
            fields: further ones; `model` replaces the model.
        """
        asked = self.story if prompt is None else prompt
        limit = {} if tokens is None else {self.limit: tokens}
        said = {"messages": [{"role": "user", "content": asked}]} if self.route == routes.CHAT else {"prompt": asked}
        return self.post(**said, **limit, take=take, **fields)

    def post(self, *, take: int = 0, **fields: Any) -> Ask:
        """Return a request to the route with exactly these fields, and the model."""
        named = {} if self.model is None else {"model": self.model}
        body = orjson.dumps(named | fields)
        return Ask(PATHS[self.route], body, take)
