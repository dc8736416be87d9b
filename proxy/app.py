"""The sidecar as an ASGI app: `uvicorn proxy.app:app`. Importing this module does no IO; the lifespan does."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.requests import Request
from starlette.responses import Response

from proxy import __version__
from proxy.admin import mount_admin
from proxy.core.errors import MethodNotAllowed, NotFound, ProxyError, RequestError, StoreUnreadable
from proxy.edge.asgi import send_error
from proxy.edge.controls import check_run
from proxy.garbage import settled
from proxy.house import House, make_plan, open_house
from proxy.settings import ConfigError, Settings, load_settings
from proxy.store.base import StoreError

_ADMIN = b"/-/"
_RUNS = b"/-/runs/"
_OPEN = frozenset({b"/-/live", b"/-/ready"})
_OF_A_RUN = frozenset({b"", b"exchanges", b"report"})
"""What below a run's URL is the sidecar's own; everything else there is the model server."""


class Evalside(FastAPI):
    """FastAPI owns the app, the `/-/` routes and their docs; every other request goes to the edge, past all of it."""

    def __init__(self, settings: Settings | None) -> None:
        super().__init__(
            title="Evalside", version=__version__, docs_url=None, redoc_url=None, openapi_url="/-/openapi.json"
        )
        self._settings = settings
        self._house: House | None = None
        self.add_exception_handler(ProxyError, _answer)
        self.add_exception_handler(StoreError, _store_failed)
        self.add_exception_handler(404, _no_such_route)
        self.add_exception_handler(405, _no_such_method)
        self.add_exception_handler(RequestValidationError, _bad_parameter)
        mount_admin(self)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] != "http":
            await super().__call__(scope, receive, send)
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Any, receive: Any, send: Any) -> None:
        assert self._house is not None, "the lifespan has not run"
        path: bytes = scope.get("raw_path") or scope["path"].encode()
        path = path.removeprefix(scope.get("root_path", "").encode())  # of a reverse proxy (uvicorn --root-path)
        if not path.startswith(b"/"):
            await send_error(send, RequestError("the request target must begin with '/'"))
            return
        if not path.startswith(_ADMIN) and path != _ADMIN[:-1]:
            await self._house.edge(scope, receive, send, path=path)
            return
        try:
            self._house.gate.admit(scope, scope["headers"], admin=True, needs_token=path not in _OPEN)
            run, below = _split_run(path)
        except ProxyError as error:
            await send_error(send, error)
            return
        if run is None:
            await super().__call__(scope, receive, send)
        else:
            await self._house.edge(scope, receive, send, path=below, run=run)

    async def _lifespan(self, receive: Any, send: Any) -> None:
        """Open the house at start-up and close it at shutdown; what is wrong is said in words, not in a traceback."""
        await receive()
        async with AsyncExitStack() as stack:
            try:
                plan = make_plan(self._settings or load_settings())
                self._house = await stack.enter_async_context(open_house(plan))
            except (ConfigError, StoreError) as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            self.state.house = self._house
            stack.enter_context(settled())
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})


def create_app(settings: Settings | None = None) -> FastAPI:
    """Return the app. Without `settings` they are loaded at start-up from the environment and its YAML file."""
    return Evalside(settings)


def _split_run(path: bytes) -> tuple[str | None, bytes]:
    """Return the run and the model server's path of `/-/runs/{run}/…`; None for the sidecar's own routes."""
    if not path.startswith(_RUNS):
        return None, path
    name, slash, below = path.removeprefix(_RUNS).partition(b"/")
    if not slash or below in _OF_A_RUN:
        return None, path
    return check_run(name.decode("latin-1")), b"/" + below


async def _answer(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProxyError)
    headers = {name.decode(): value.decode() for name, value in error.response_headers()}
    return Response(error.body(), error.status, headers)


async def _no_such_route(request: Request, error: Exception) -> Response:
    return await _answer(request, NotFound(f"there is no route {request.url.path}; /-/docs lists them"))


async def _store_failed(request: Request, error: Exception) -> Response:
    return await _answer(request, StoreUnreadable(f"{error}. Requests are answered all the same"))


async def _no_such_method(request: Request, error: Exception) -> Response:
    return await _answer(request, MethodNotAllowed(f"{request.url.path} has no method {request.method}"))


async def _bad_parameter(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    wrong = error.errors()[0]
    return await _answer(request, RequestError(f"'{wrong['loc'][-1]}' is {wrong['input']!r}: {wrong['msg']}"))


app = create_app()
