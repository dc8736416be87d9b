"""What both clients do alike: requests, retries, answers, errors."""

import json
import secrets
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from harness.api import ApiEndpoint, EndpointModelConfig
from harness.client.answers import Fields, SidecarFacts
from harness.errors import RequestError
from harness.proxy_process import DEFAULT_STORE, Sidecar
from harness.redact import Redactor

CHAT, COMPLETIONS, EMBEDDINGS = "/v1/chat/completions", "/v1/completions", "/v1/embeddings"
RESPONSES, MODELS = "/v1/responses", "/v1/models"
DONE = "[DONE]"
_TRANSIENT = frozenset({409, 429, 502, 503, 504})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.5, 10.0
_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Options:
    """How a client asks. `fields` are in every request that does not say otherwise."""

    fields: Mapping[str, Any]
    max_retries: int = 3
    parallelism: int | None = None
    request_timeout: float | None = None

    @property
    def timeout(self) -> httpx.Timeout:
        """For httpx."""
        return httpx.Timeout(self.request_timeout, connect=_CONNECT_TIMEOUT_S)

    def body(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """A request's body."""
        return {**self.fields, **given}


def taken_apart(model: ApiEndpoint | EndpointModelConfig | str) -> tuple[ApiEndpoint, Options]:
    """The endpoint of a client, and how it asks."""
    if isinstance(model, str):
        model = ApiEndpoint(url=model)
    if isinstance(model, ApiEndpoint):
        return model, Options({"model": model.model_id} if model.model_id else {})
    chosen = {"temperature": model.temperature, "top_p": model.top_p, "max_tokens": model.max_new_tokens}
    chosen |= {"stream": model.stream}
    fields = {"model": model.model_id} | {name: value for name, value in chosen.items() if value is not None}
    retries = Options.max_retries if model.max_retries is None else model.max_retries
    return model.endpoint(), Options(fields | model.extra, retries, model.parallelism, model.request_timeout)


def started(endpoint: ApiEndpoint, store: Path | None, log_path: Path | None, stack: ExitStack) -> Sidecar:
    """A sidecar that runs while `stack` is open; its log is in a temporary folder unless a path is given."""
    if log_path is None:
        log_path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalside-"))) / "sidecar.log"
    return stack.enter_context(Sidecar(endpoint, log_path=log_path, store=store or DEFAULT_STORE))


def new_run() -> str:
    """A name for a run that no other has."""
    return f"client-{secrets.token_hex(4)}"


def is_transient(response: httpx.Response) -> bool:
    """Whether the same request may do better in a moment."""
    return response.status_code in _TRANSIENT and response.headers.get("x-should-retry") != "false"


def wait_s(attempt: int) -> float:
    """Seconds to wait after an attempt, counted from 0."""
    return float(min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S))


def answer(response: httpx.Response, redactor: Redactor) -> Fields:
    """A plain answer. Raises RequestError where it is an error or no JSON object."""
    refuse_errors(response, redactor)
    try:
        document = response.json()
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise RequestError(f"the answer to {response.request.url.path} is no JSON object", response.status_code)
    return Fields(document, SidecarFacts.of(response.headers))


def event(data: str, headers: httpx.Headers) -> Fields:
    """A part of a streamed answer. Raises RequestError where it is an error."""
    document = json.loads(data)
    if "error" in document:
        error = document["error"]
        raise RequestError(f"the stream broke off: {error.get('message', error)}", 200, error.get("code"))
    return Fields(document, SidecarFacts.of(headers))


def refuse_errors(response: httpx.Response, redactor: Redactor) -> None:
    """Raises RequestError, with what the server said, where a response (read already) is an error."""
    if response.is_success:
        return
    try:
        document = response.json()
    except ValueError:
        document = {}
    error = document.get("error") if isinstance(document, dict) else None
    error = error if isinstance(error, dict) else {}
    said = redactor.text(str(error.get("message") or response.text[:300] or "nothing"))
    code = error.get("code")
    shown = f" ({code})" if code else ""
    raise RequestError(
        f"{response.status_code}{shown} from {response.request.url.path}: {said}", response.status_code, code
    )
