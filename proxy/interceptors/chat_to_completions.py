"""chat_to_completions: /v1/chat/completions from a model server that has only /v1/completions, by a chat template."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt, model_validator

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import CannotStart, Plugin, Services, simple
from proxy.interceptors.bridge import Bridge, BridgeConfig
from proxy.wire import routes
from proxy.wire.bridges.choices import ChatOfCompletion
from proxy.wire.bridges.completions_request import NAME, Options, completions_request, top_logprobs
from proxy.wire.bridges.event_bridge import Translator
from proxy.wire.bridges.template import Template, TemplateFailed


class ChatToCompletionsConfig(BridgeConfig):
    """The template, and what it is given beside the request."""

    chat_template: str | None = Field(None, min_length=1, description="a chat template in Jinja, as models come with")
    chat_template_file: Path | None = Field(None, description="a file that holds it; set this or `chat_template`")
    bos_token: str = Field("", description="`bos_token` of the template; most servers add it to a prompt themselves")
    eos_token: str = Field("", description="`eos_token` of the template")
    render_tools: bool = Field(
        False, description="show tools to the template; calls then stay in the text, as the model writes them"
    )
    default_max_tokens: PositiveInt | None = Field(
        None, description="limit for requests that have none; null refuses them"
    )

    @model_validator(mode="after")
    def _one_template(self) -> ChatToCompletionsConfig:
        if (self.chat_template is None) == (self.chat_template_file is None):
            raise ValueError("it needs the model's chat template: set either 'chat_template' or 'chat_template_file'")
        return self


class ChatToCompletions:
    """Writes the messages as one prompt, and asks for its continuation."""

    def __init__(self, config: ChatToCompletionsConfig, services: Services) -> None:
        self._options = Options(
            template=_read(config),
            tokens={"bos_token": config.bos_token, "eos_token": config.eos_token},
            default_max_tokens=config.default_max_tokens,
            render_tools=config.render_tools,
        )
        self._strict = services.strict if config.strict is None else config.strict
        self._bridge = Bridge(NAME, routes.COMPLETIONS, b"/v1/completions", self._strict)

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        if exchange.route != routes.CHAT:
            return await call_next(exchange)
        return await self._bridge.cross(
            exchange,
            call_next,
            lambda document: completions_request(document, self._options, strict=self._strict),
            lambda document: _Back(top_logprobs(document)),
        )


@dataclass(frozen=True, slots=True)
class _Back:
    top: int

    def whole(self, answer: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        return ChatOfCompletion(self.top).whole(answer), []

    def events(self) -> Translator:
        return ChatOfCompletion(self.top)


def _read(config: ChatToCompletionsConfig) -> Template:
    source, path = config.chat_template, config.chat_template_file
    try:
        if path is not None:
            source = path.expanduser().read_text(encoding="utf-8")
        return Template(source or "")
    except (OSError, ValueError) as error:
        raise CannotStart(f"interceptor '{NAME}': chat_template_file '{path}' cannot be read: {error}") from None
    except TemplateFailed as error:
        raise CannotStart(f"interceptor '{NAME}': the chat template is not one: {error}") from None


PLUGIN = Plugin(ChatToCompletionsConfig, Layer.TRANSFORM, simple(ChatToCompletions), rank=930)
