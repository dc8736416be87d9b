"""completions_to_chat: /v1/completions from a model server that has only /v1/chat/completions, by a template."""

from __future__ import annotations

from typing import Any

from pydantic import Field, PositiveInt

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import CannotStart, Plugin, Services, simple
from proxy.interceptors.bridge import Bridge, BridgeConfig
from proxy.wire import routes
from proxy.wire.bridges.choices import CompletionOfChat
from proxy.wire.bridges.event_bridge import Translator
from proxy.wire.bridges.prompt_request import NAME, prompt_request
from proxy.wire.bridges.template import TemplateFailed, strict_template


class CompletionsToChatConfig(BridgeConfig):
    """How a prompt becomes a message."""

    user_template: str = Field(min_length=1, description="the user's message in Jinja; `{{ prompt }}` is the prompt")
    default_max_tokens: PositiveInt | None = Field(
        16, description="limit for requests that have none, by the route's definition; null leaves the chat without"
    )


class CompletionsToChat:
    """Gives the prompt to the model as a message of the user. What it answers is no continuation of the prompt."""

    def __init__(self, config: CompletionsToChatConfig, services: Services) -> None:
        try:
            self._template = strict_template(config.user_template)
        except TemplateFailed as error:
            raise CannotStart(f"interceptor '{NAME}': user_template is not one: {error}") from None
        self._limit = config.default_max_tokens
        self._strict = services.strict if config.strict is None else config.strict
        self._bridge = Bridge(NAME, routes.CHAT, b"/v1/chat/completions", self._strict)

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        if exchange.route != routes.COMPLETIONS:
            return await call_next(exchange)
        return await self._bridge.cross(
            exchange,
            call_next,
            lambda document: prompt_request(document, self._template, self._limit, strict=self._strict),
            lambda _: _Back(),
        )


class _Back:
    def whole(self, answer: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        made = CompletionOfChat()
        return made.whole(answer), made.lost

    def events(self) -> Translator:
        return CompletionOfChat()


PLUGIN = Plugin(CompletionsToChatConfig, Layer.TRANSFORM, simple(CompletionsToChat), rank=940)
