"""responses_to_chat: /v1/responses from a model server that has only /v1/chat/completions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, simple
from proxy.interceptors.bridge import Bridge, BridgeConfig
from proxy.wire import routes
from proxy.wire.bridges.event_bridge import Translator
from proxy.wire.bridges.responses_answer import Asked, response
from proxy.wire.bridges.responses_events import ResponseEvents
from proxy.wire.bridges.responses_request import NAME, Options, chat_request


class ResponsesToChatConfig(BridgeConfig):
    """What the model server's chat differs in."""

    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = Field(
        "max_tokens", description="what the chat calls `max_output_tokens`"
    )
    developer_role: Literal["system", "developer"] = Field(
        "system", description="what messages of the role `developer` become"
    )
    reasoning_field: Literal["reasoning_content", "reasoning"] = Field(
        "reasoning_content", description="where the chat takes the reasoning of earlier turns"
    )


class ResponsesToChat:
    """Asks the chat route for what /v1/responses was asked."""

    def __init__(self, config: ResponsesToChatConfig, services: Services) -> None:
        self._options = Options(config.max_tokens_field, config.developer_role, config.reasoning_field)
        self._strict = services.strict if config.strict is None else config.strict
        self._bridge = Bridge(NAME, routes.CHAT, b"/v1/chat/completions", self._strict)

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        if exchange.route != routes.RESPONSES:
            return await call_next(exchange)
        return await self._bridge.cross(
            exchange,
            call_next,
            lambda document: chat_request(document, self._options, strict=self._strict),
            lambda document: _Back(Asked(document, exchange.id)),
        )


@dataclass(frozen=True, slots=True)
class _Back:
    asked: Asked

    def whole(self, answer: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        return response(self.asked, answer)

    def events(self) -> Translator:
        return ResponseEvents(self.asked)


PLUGIN = Plugin(ResponsesToChatConfig, Layer.TRANSFORM, simple(ResponsesToChat), rank=920)
