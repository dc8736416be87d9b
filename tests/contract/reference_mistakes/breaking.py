"""An interceptor that fails, as one of a user's own may."""

from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple


class Breaking:
    def __init__(self, config: TransformConfig, services: Services) -> None:
        pass

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        raise KeyError("messages")


PLUGIN = Plugin(TransformConfig, Layer.TRANSFORM, simple(Breaking))
