"""endpoint: the model server's end of the pipeline. Always there; it may be listed, as in the reference."""

from __future__ import annotations

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import ModelNames, Plugin, Services, StrictConfig, simple


class EndpointConfig(StrictConfig):
    """The upstream's own settings are under `upstream`."""


class Endpoint:
    """Names the model: fills in the default, and translates aliases."""

    def __init__(self, models: ModelNames) -> None:
        self._default = models.default
        self._aliases = models.aliases or {}

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        body = exchange.request.body
        asked = body.json.get("model")
        if not asked and self._default is not None:
            body.edit()["model"] = self._default
        elif isinstance(asked, str) and asked in self._aliases:
            body.edit()["model"] = self._aliases[asked]
        return await call_next(exchange)


def _make(config: EndpointConfig, services: Services) -> Endpoint:
    return Endpoint(services.models)


PLUGIN = Plugin(EndpointConfig, Layer.TRANSFORM, simple(_make), rank=1000)
