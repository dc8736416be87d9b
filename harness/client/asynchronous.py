"""The same client for programs with an event loop."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, aclosing, nullcontext
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from harness.api import ApiEndpoint, EndpointModelConfig
from harness.client import calls
from harness.client.answers import Fields
from harness.client.events import Events
from harness.redact import Redactor


class AsyncRoute:
    """One route of the API."""

    def __init__(self, client: "AsyncEvalsideClient", path: str) -> None:
        self._client = client
        self._path = path

    async def create(self, **body: Any) -> Any:
        """The answer (Fields) to a request with these fields; with `stream=True` an async iterator of its parts.

        Raises RequestError where the server refuses it.
        """
        return await self._client.post(self._path, body)


class AsyncChat:
    """`client.chat.completions`, as the OpenAI SDK has it."""

    def __init__(self, client: "AsyncEvalsideClient") -> None:
        self.completions = AsyncRoute(client, calls.CHAT)


class AsyncModels:
    """`client.models`."""

    def __init__(self, client: "AsyncEvalsideClient") -> None:
        self._client = client

    async def list(self) -> Fields:
        """The models that the server lists, as `data`."""
        return await self._client.get(calls.MODELS)


class AsyncEvalsideClient:
    """EvalsideClient with `async with` and `await`: see there."""

    def __init__(
        self,
        model: ApiEndpoint | EndpointModelConfig | str,
        *,
        run_id: str | None = None,
        store: Path | None = None,
        log_path: Path | None = None,
    ) -> None:
        self._endpoint, self._options = calls.taken_apart(model)
        self.run_id = run_id or calls.new_run()
        self._is_new = run_id is None
        self._places = store, log_path
        self._redactor = Redactor.of(self._endpoint)
        self._gate = asyncio.Semaphore(self._options.parallelism) if self._options.parallelism else None
        self._stack = AsyncExitStack()
        self.base_url = ""
        self.chat = AsyncChat(self)
        self.completions = AsyncRoute(self, calls.COMPLETIONS)
        self.embeddings = AsyncRoute(self, calls.EMBEDDINGS)
        self.responses = AsyncRoute(self, calls.RESPONSES)
        self.models = AsyncModels(self)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            below = stack.enter_context(ExitStack())
            sidecar = await asyncio.to_thread(calls.started, self._endpoint, *self._places, below)
            origin = f"{sidecar.url}/-/runs/{self.run_id}"
            # trust_env: a proxy variable of the shell must not come between the client and its sidecar.
            http = httpx.AsyncClient(
                base_url=origin,
                timeout=self._options.timeout,
                limits=httpx.Limits(max_connections=None),
                trust_env=False,
            )
            self._http = await stack.enter_async_context(http)
            if not self._is_new:
                calls.refuse_errors(await self._http.post(origin), self._redactor)
            self.base_url = f"{origin}/v1"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stops the sidecar; safe to call twice."""
        await self._stack.aclose()

    async def get(self, path: str) -> Fields:
        """The answer to GET `path`, for example `/v1/models`."""
        return calls.answer(await self._http.get(path), self._redactor)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to POST `path`; with `stream` true an async iterator of its parts."""
        document = self._options.body(body)
        if document.get("stream"):
            return self._parts(path, document)
        async with self._gate or nullcontext():
            return calls.answer(await self._send(path, document, stream=False), self._redactor)

    async def _parts(self, path: str, document: Mapping[str, Any]) -> AsyncIterator[Fields]:
        async with self._gate or nullcontext():
            response = await self._send(path, document, stream=True)
            events = Events()
            async with aclosing(response):
                async for chunk in response.aiter_bytes():
                    for data in events.feed(chunk):
                        if data == calls.DONE:
                            return
                        yield calls.event(data, response.headers)

    async def _send(self, path: str, document: Mapping[str, Any], *, stream: bool) -> httpx.Response:
        attempt = 0
        while True:
            last = attempt >= self._options.max_retries
            try:
                request = self._http.build_request("POST", path, json=document)
                response = await self._http.send(request, stream=stream)
            except httpx.TransportError:
                if last:
                    raise
            else:
                if response.is_success:
                    return response
                await response.aread()
                if last or not calls.is_transient(response):
                    calls.refuse_errors(response, self._redactor)
            await asyncio.sleep(calls.wait_s(attempt))
            attempt += 1
