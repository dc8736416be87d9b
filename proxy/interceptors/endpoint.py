"""endpoint: the model server's end of the pipeline. Always there; listed for its options, or as in the reference."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field, NonNegativeInt, PositiveFloat, field_validator

from proxy.core.document import encode
from proxy.core.errors import UpstreamTimeout
from proxy.core.http import Exchange, Headers, Response, without_headers
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, StrictConfig, simple
from proxy.interceptors.header_options import check_header_name, check_header_value
from proxy.interceptors.retry import RETRY_ON


class EndpointConfig(StrictConfig):
    """What every request on a pipeline route gets; the upstream's address and key are under `upstream`."""

    extra_body: dict[str, Any] = Field({}, description="top-level fields that replace those of the request")
    extra_headers: dict[str, str] = Field({}, description="headers that replace those of the request")
    request_timeout: PositiveFloat | None = Field(
        None, description="seconds until a plain answer is whole, or a stream begins; null waits for ever"
    )
    max_retries: NonNegativeInt = Field(0, description="above 0 implies `retry` with this option")
    retry_on_status: frozenset[int] = Field(RETRY_ON, description="of the implied `retry`")
    max_concurrent: NonNegativeInt | None = Field(
        None, description="implies `limit` with this option; null and 0 have no limit"
    )

    elsewhere: ClassVar[Mapping[str, str]] = {
        "upstream_url": "the model server's address is the setting upstream.url",
        "api_key": "the setting upstream.api_key_name names the variable that holds the key",
        "model_traffic_store_id": "every exchange is in the store (evalside log ls); remove it",
    }

    @field_validator("extra_body")
    @classmethod
    def _is_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            encode(value)
        except ValueError as error:
            raise ValueError(f"it cannot be sent as JSON: {error}") from None
        return value

    @field_validator("extra_headers")
    @classmethod
    def _are_headers(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            check_header_name(name)
            check_header_value(name, content)
        return value


class Endpoint:
    """Names the model (fills in the default, translates aliases), then adds what the endpoint wants."""

    def __init__(self, config: EndpointConfig, services: Services) -> None:
        self._default = services.models.default
        self._aliases = services.models.aliases or {}
        self._extra_body = config.extra_body
        self._extra_headers: Headers = [(name.encode(), text.encode()) for name, text in config.extra_headers.items()]
        self._replaced = frozenset(name.lower() for name, _ in self._extra_headers)
        self._timeout = config.request_timeout

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        request = exchange.request
        asked = request.body.json.get("model")
        if not asked and self._default is not None:
            request.body.edit()["model"] = self._default
        elif isinstance(asked, str) and asked in self._aliases:
            request.body.edit()["model"] = self._aliases[asked]
        if self._extra_body:
            request.body.edit().update(
                copy.deepcopy(self._extra_body)
            )  # the next edit must not reach the configuration
        if self._extra_headers:
            request.headers = without_headers(request.headers, self._replaced) + self._extra_headers
        if self._timeout is None:
            return await call_next(exchange)
        try:
            async with asyncio.timeout(self._timeout):
                return await call_next(exchange)
        except TimeoutError:
            raise UpstreamTimeout(f"no answer within {self._timeout} s (request_timeout of endpoint)") from None


PLUGIN = Plugin(EndpointConfig, Layer.TRANSFORM, simple(Endpoint), rank=1000)
