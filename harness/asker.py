"""Asks an OpenAI-compatible server one question at a time, and says what came of it."""

import asyncio
import dataclasses
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import httpx

from harness.api import EndpointType
from harness.errors import EndpointError
from harness.redact import Redactor

_PATHS = {EndpointType.CHAT: "/v1/chat/completions", EndpointType.COMPLETIONS: "/v1/completions"}
_TRANSIENT = {502, 503, 504}
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 10.0
_LIST_TIMEOUT_S = 30.0
_EXCERPT = 300
ABORTED = "the run was given up"
"""Begins the message of a run that the interceptor raise_client_errors has ended."""
SAMPLE = "x-evalside-sample"
"""The request header that names one of several samples of identical requests."""

Sleep = Callable[[float], Awaitable[None]]


@dataclasses.dataclass(frozen=True, slots=True)
class Answer:
    """One answer. `error` says why there is no text; `latency_ms` is that of the last of `attempts` requests."""

    text: str = ""
    error: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    generated_tokens: int | None = None
    cache: str | None = None
    exchange_id: str | None = None
    latency_ms: float = 0.0
    attempts: int = 1


class _Outcome(NamedTuple):
    answer: Answer
    again: bool
    hopeless: str | None


class Asker:
    """Talks to the server behind `http`, whose base URL is an origin or a run of a sidecar.

    Transport errors, 502, 503 and 504, and 409 for a sample that is still on its way, are tried again `max_retries`
    times, unless the answer says `x-should-retry: false`; anything else is the server's last word. Errors quote it,
    through `redactor`: a server that refuses a key may say which. Those that end a run name `url`, the server's own.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        kind: EndpointType,
        redactor: Redactor,
        *,
        max_retries: int = 3,
        url: str = "",
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._http = http
        self._kind = kind
        self._redactor = redactor
        self._max_retries = max_retries
        self._url = url
        self._sleep = sleep

    async def models(self) -> list[str]:
        """The ids that GET /v1/models lists; empty if the server has no such list.

        Raises EndpointError if the server cannot be reached or wants another key.
        """
        try:
            response = await self._http.get("/v1/models", timeout=_LIST_TIMEOUT_S)
        except httpx.TimeoutException as error:
            raise self._error(_silent("/v1/models", _LIST_TIMEOUT_S)) from error
        except httpx.TransportError as error:
            raise self._error(_unreachable(_name(error))) from error
        hopeless = _hopeless(response, "/v1/models")
        if hopeless and response.status_code != 404:
            raise self._error(hopeless)
        document = _document(response)
        rows = document.get("data") if isinstance(document, dict) else None
        ids = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [found for found in ids if isinstance(found, str)]

    async def ask(self, body: dict[str, Any], headers: Mapping[str, str] | None = None) -> Answer:
        """The answer to a request body, sent with `headers`; one that failed has `error` set.

        Raises EndpointError where every other request of the run would get the same: on 401, 403 and 404, and if the
        server cannot be connected to after all attempts.
        """
        attempt = 1
        while True:
            started = time.perf_counter()
            outcome = await self._attempt(body, headers or {})
            latency_ms = round((time.perf_counter() - started) * 1000, 3)
            if not outcome.again or attempt > self._max_retries:
                break
            await self._sleep(min(_FIRST_WAIT_S * 2 ** (attempt - 1), _LONGEST_WAIT_S))
            attempt += 1
        if outcome.hopeless:
            raise self._error(outcome.hopeless)
        error = outcome.answer.error
        shown = error if error is None else self._redactor.text(error)
        return dataclasses.replace(outcome.answer, error=shown, latency_ms=latency_ms, attempts=attempt)

    def _error(self, message: str) -> EndpointError:
        where = f"\nThe endpoint's URL is {self._redactor.url(self._url)}." if self._url else ""
        return EndpointError(self._redactor.text(message) + where)

    async def _attempt(self, body: dict[str, Any], headers: Mapping[str, str]) -> _Outcome:
        path = _PATHS[self._kind]
        try:
            response = await self._http.post(path, json=body, headers=headers)
        except httpx.ReadTimeout:
            return _Outcome(Answer(error=_slow(self._http.timeout.read)), again=True, hopeless=None)
        except httpx.TransportError as error:
            hopeless = _unreachable(_name(error)) if isinstance(error, httpx.ConnectError) else None
            return _Outcome(Answer(error=_name(error)), again=True, hopeless=hopeless)
        transient = response.status_code in _TRANSIENT or _code(response) == "sample_busy"
        again = transient and response.headers.get("x-should-retry") != "false"
        return _Outcome(self._read(response), again, _hopeless(response, path))

    def _read(self, response: httpx.Response) -> Answer:
        headers = response.headers
        facts = Answer(cache=headers.get("x-evalside-cache"), exchange_id=headers.get("x-evalside-id"))
        if response.status_code != 200:
            return dataclasses.replace(facts, error=f"HTTP {response.status_code}: {_excerpt(response)}")
        document = _document(response)
        choices = document.get("choices") if isinstance(document, dict) else None
        if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
            return dataclasses.replace(facts, error=f"the answer has no choices: {_excerpt(response)}")
        choice = choices[0]
        holder, key = (choice.get("message"), "content") if self._kind is EndpointType.CHAT else (choice, "text")
        if not isinstance(holder, dict) or not isinstance(holder.get(key), str | None):
            return dataclasses.replace(facts, error=f"the first choice has no text: {_excerpt(response)}")
        usage = document.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        return dataclasses.replace(
            facts,
            text=holder.get(key) or "",
            finish_reason=choice.get("finish_reason"),
            prompt_tokens=usage.get("prompt_tokens"),
            generated_tokens=usage.get("completion_tokens"),
        )


def _document(response: httpx.Response) -> Any:
    try:
        return response.json()
    except (json.JSONDecodeError, UnicodeDecodeError):
        return None


def _hopeless(response: httpx.Response, path: str) -> str | None:
    status = response.status_code
    if status in {401, 403}:
        return (
            f"the endpoint refuses the key ({status}): {_excerpt(response)}\n"
            "Name the environment variable that holds the right key with api_key_name (--api-key-name VAR)."
        )
    if status == 404:
        return (
            f"the endpoint knows no {path}, or not this model (404): {_excerpt(response)}\n"
            "Check the URL's path, the endpoint type (--type chat or completions) and the model id (--model-id)."
        )
    if _code(response) == "run_aborted":
        return f"{ABORTED}: {_excerpt(response)}\nMend what the model server refuses, then resume the run."
    if status == 502 and _code(response) == "upstream_unreachable":
        return _unreachable(_excerpt(response))
    return None


def _unreachable(reason: str) -> str:
    return (
        f"the endpoint cannot be reached: {reason}\n"
        "Check that the model server runs and that host and port of the URL are its own; `curl URL/models` tells."
    )


def _silent(path: str, seconds: float) -> str:
    return (
        f"the endpoint does not answer GET {path} within {seconds:g} s\n"
        "Check that the URL is the model server's and that it is not overloaded; its log tells."
    )


def _slow(seconds: float | None) -> str:
    return (
        f"no answer within {seconds or 0:g} s (params.request_timeout); raise it, or ask less at once with a lower "
        "params.parallelism, and see the log of the model server"
    )


def _code(response: httpx.Response) -> str | None:
    document = _document(response)
    error = document.get("error") if isinstance(document, dict) else None
    code = error.get("code") if isinstance(error, dict) else None
    return code if isinstance(code, str) else None


def _excerpt(response: httpx.Response) -> str:
    document = _document(response)
    error = document.get("error") if isinstance(document, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    text = message if isinstance(message, str) and message else response.text.strip()
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}…"


def _name(error: httpx.TransportError) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
