"""drop_params: top-level parameters left out."""

from __future__ import annotations

from pydantic import Field

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple


class DropParamsConfig(TransformConfig):
    """What to leave out."""

    params: tuple[str, ...] = Field(description="parameters at the top level of the body")


class DropParams:
    """Removes parameters of these very names; nothing below the top level has one."""

    def __init__(self, config: DropParamsConfig, services: Services) -> None:
        self._params = config.params

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        body = exchange.request.body
        for name in self._params:
            if name in body.json:
                del body.edit()[name]
        return await call_next(exchange)


PLUGIN = Plugin(DropParamsConfig, Layer.TRANSFORM, simple(DropParams), rank=25)
