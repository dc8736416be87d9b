"""A client for scripts and notebooks."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from harness.api import ApiEndpoint, EndpointModelConfig
from harness.client import calls
from harness.client.answers import Fields
from harness.client.events import Events
from harness.redact import Redactor


class Route:
    """One route of the API."""

    def __init__(self, client: "EvalsideClient", path: str) -> None:
        self._client = client
        self._path = path

    def create(self, **body: Any) -> Any:
        """The answer (Fields) to a request with these fields; with `stream=True` an iterator of its parts.

        Raises RequestError where the server refuses it.
        """
        return self._client.post(self._path, body)


class Chat:
    """`client.chat.completions`, as the OpenAI SDK has it."""

    def __init__(self, client: "EvalsideClient") -> None:
        self.completions = Route(client, calls.CHAT)


class Models:
    """`client.models`."""

    def __init__(self, client: "EvalsideClient") -> None:
        self._client = client

    def list(self) -> Fields:
        """The models that the server lists, as `data`."""
        return self._client.get(calls.MODELS)


class EvalsideClient:
    """Asks a model through a sidecar that runs while the `with` block is open, in a run of its own.

    `model` is a URL, an ApiEndpoint or an EndpointModelConfig. `base_url` is for any other OpenAI client. With the
    `run_id` of an earlier client the run begins a new pass: the same requests get the samples that they got then.
    """

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
        self._gate = threading.Semaphore(self._options.parallelism) if self._options.parallelism else None
        self._stack = ExitStack()
        self.base_url = ""
        self.chat = Chat(self)
        self.completions = Route(self, calls.COMPLETIONS)
        self.embeddings = Route(self, calls.EMBEDDINGS)
        self.responses = Route(self, calls.RESPONSES)
        self.models = Models(self)

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            sidecar = calls.started(self._endpoint, *self._places, stack)
            origin = f"{sidecar.url}/-/runs/{self.run_id}"
            # trust_env: a proxy variable of the shell must not come between the client and its sidecar.
            http = httpx.Client(base_url=origin, timeout=self._options.timeout, trust_env=False)
            self._http = stack.enter_context(http)
            if not self._is_new:
                calls.refuse_errors(self._http.post(origin), self._redactor)
            self.base_url = f"{origin}/v1"
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stops the sidecar; safe to call twice."""
        self._stack.close()

    def get(self, path: str) -> Fields:
        """The answer to GET `path`, for example `/v1/models`."""
        return calls.answer(self._http.get(path), self._redactor)

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """The answer to POST `path`; with `stream` true an iterator of its parts."""
        document = self._options.body(body)
        return self._parts(path, document) if document.get("stream") else self._whole(path, document)

    def _whole(self, path: str, document: Mapping[str, Any]) -> Fields:
        with self._gate or ExitStack():
            return calls.answer(self._send(path, document, stream=False), self._redactor)

    def _parts(self, path: str, document: Mapping[str, Any]) -> Iterator[Fields]:
        with self._gate or ExitStack(), closing(self._send(path, document, stream=True)) as response:
            events = Events()
            for chunk in response.iter_bytes():
                for data in events.feed(chunk):
                    if data == calls.DONE:
                        return
                    yield calls.event(data, response.headers)

    def _send(self, path: str, document: Mapping[str, Any], *, stream: bool) -> httpx.Response:
        attempt = 0
        while True:
            last = attempt >= self._options.max_retries
            try:
                response = self._http.send(self._http.build_request("POST", path, json=document), stream=stream)
            except httpx.TransportError:
                if last:
                    raise
            else:
                if response.is_success:
                    return response
                response.read()
                if last or not calls.is_transient(response):
                    calls.refuse_errors(response, self._redactor)
            time.sleep(calls.wait_s(attempt))
            attempt += 1
