"""One answer as a line of a bundle, and what an answer has to be before anyone believes it."""

from __future__ import annotations

import base64
import dataclasses
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field, ValidationError

from proxy.core.document import encode, parse
from proxy.core.hop import HOP_BY_HOP
from proxy.core.http import Headers
from proxy.core.redact import SECRET_NAME
from proxy.store.base import POOLED, EntryKey, KeySource, StoredResponse
from proxy.store.bundle.manifest import RUN, Seconds, Sha256, Strict, explained, shown
from proxy.store.keys import key_of
from proxy.wire import routes
from proxy.wire.complete import is_complete
from proxy.wire.key import canonical, is_deterministic, prompt_hash
from proxy.wire.shape import PLAIN, STREAM, shape_of
from proxy.wire.sse import is_event_stream

_HIGHEST_SAMPLE = 2**31 - 1
_POOL = re.compile(rf"{RUN}/[0-9a-f]{{1,128}}")
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, section 5.6.2)."""
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_TARGET = re.compile(r"[\x21-\x7e\x80-\xff]*")
_REFUSED = HOP_BY_HOP | {b"content-encoding", b"content-length", b"set-cookie"}
"""Fields that would be untrue of the answer, or reach beyond it."""
_OWN = b"x-evalside-"


class _Binary(Strict):
    """Bytes that are not UTF-8."""

    base64: str


class _Source(Strict):
    identity: Annotated[str, Field(min_length=1)]
    method: Literal["POST"]
    path: str
    query: str
    headers: list[tuple[str, str]]


class _Line(Strict):
    key: Sha256
    pool: str
    sample: Annotated[int, Field(ge=0, le=_HIGHEST_SAMPLE)]
    shape: str
    route: str
    status: Literal[200]
    created_at: Seconds
    upstream_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    source: _Source
    headers: list[tuple[str, str]]
    request: str
    body: str | _Binary


def write_line(at: EntryKey, response: StoredResponse) -> bytes:
    """Return an answer as the bytes of a line, without the line's end."""
    source = response.source
    return orjson.dumps(
        {
            "key": at.key.hex(),
            "pool": at.pool,
            "sample": at.sample,
            "shape": at.shape,
            "route": response.route,
            "status": response.status,
            "created_at": response.created_at,
            "upstream_ms": response.upstream_ms,
            "source": {
                "identity": source.identity,
                "method": source.method,
                "path": source.path,
                "query": source.query,
                "headers": source.headers,
            },
            "headers": [(name.decode("latin-1"), value.decode("latin-1")) for name, value in response.headers],
            "request": response.request.decode(),
            "body": _text(response.body),
        },
        option=orjson.OPT_SORT_KEYS,
    )


def read_line(raw: bytes) -> tuple[EntryKey, StoredResponse]:
    """Return the answer in a line.

    Raises:
        ValueError: the line is not one, or its answer is not to be believed; the message names the field.
    """
    try:
        line = _Line.model_validate_json(raw)
    except ValidationError as error:
        raise ValueError(explained(error)) from None
    at = EntryKey(bytes.fromhex(line.key), line.pool, line.sample, line.shape)
    source = line.source
    response = StoredResponse(
        status=line.status,
        headers=[(_latin(name, "headers"), _latin(value, "headers")) for name, value in line.headers],
        body=_bytes(line.body),
        route=line.route,
        request=line.request.encode(),
        upstream_ms=line.upstream_ms,
        created_at=line.created_at,
        source=KeySource(source.identity, source.method, source.path, source.query, source.headers),
    )
    document = check(at, response)
    if write_line(at, response) != raw:
        raise ValueError("the line is not in canonical form")
    return at, dataclasses.replace(response, prompt=prompt_hash(document))


def check(at: EntryKey, response: StoredResponse) -> Mapping[str, Any]:
    """Return the request of an answer that a sidecar could have stored there.

    Raises:
        ValueError: none could; the message names the field.
    """
    document = _document(response.request)
    source = response.source
    if response.status != 200:
        raise ValueError(f"field 'status' is {response.status}: only 200 is kept")
    _check_source(source)
    if routes.match(source.method, source.path.encode("latin-1"))[0] != response.route:
        raise ValueError(f"field 'route' is {shown(response.route)}, which is not that of {shown(source.path)}")
    if key_of(source, response.request) != at.key:
        raise ValueError(f"field 'key' is {at.key.hex()}, which is not the key of its request")
    _check_pool(at, response.route, document)
    _check_headers(response.headers)
    streamed = _is_streamed(at.shape)
    if is_event_stream(response.headers) != streamed:
        raise ValueError(f"field 'shape' is {shown(at.shape)}, which its content-type contradicts")
    if not is_complete(response.route, document, response.body, streamed=streamed):
        raise ValueError(f"field 'body' is not a complete answer of route '{response.route}'")
    return document


def _document(request: bytes) -> Mapping[str, Any]:
    try:
        document = parse(request)
        same = document.exact and isinstance(document.value, dict) and canonical(document.value) == request
    except ValueError as error:
        raise ValueError(f"field 'request' is not JSON ({error})") from None
    if not same:
        raise ValueError("field 'request' is not the canonical form of a request body")
    found: Mapping[str, Any] = document.value
    return found


def _check_source(source: KeySource) -> None:
    for name in ("path", "query"):
        value = getattr(source, name)
        if not _TARGET.fullmatch(value):
            raise ValueError(f"field 'source.{name}' is {shown(value)}: it has blanks or control characters")
    if not source.identity:
        raise ValueError("field 'source.identity' is empty")
    names = [name for name, _ in source.headers]
    if names != sorted(names):
        raise ValueError("field 'source.headers' is not sorted by name")
    for name, value in source.headers:
        if not _TOKEN.fullmatch(name) or name != name.lower() or not _VALUE.fullmatch(value):
            raise ValueError(f"field 'source.headers' has {shown(name)}, which is not a header in lower case")
        if SECRET_NAME.search(name):
            raise ValueError(f"field 'source.headers' has '{name}', which holds a secret")


def _check_pool(at: EntryKey, route: str, document: Mapping[str, Any]) -> None:
    if at.pool != POOLED:
        if not _POOL.fullmatch(at.pool):
            raise ValueError(f"field 'pool' is {shown(at.pool)}, which is not a sequence of a named run")
        return
    if at.sample != 0:
        raise ValueError(f"field 'sample' is {at.sample}: a deterministic answer has the index 0")
    if route in routes.SAMPLING and not is_deterministic(document):
        raise ValueError("field 'pool' is empty, and the request is sampled: nobody may share its answer")


def _check_headers(headers: Headers) -> None:
    for name, value in headers:
        text = name.decode("latin-1")
        if not _TOKEN.fullmatch(text) or not _VALUE.fullmatch(value.decode("latin-1")):
            raise ValueError(f"field 'headers' has {shown(text)}, which is not a header")
        if name.lower() in _REFUSED or name.lower().startswith(_OWN):
            raise ValueError(f"field 'headers' has '{text}', which no stored answer has")


def _is_streamed(shape: str) -> bool:
    """Return whether a shape is a stream's; raises ValueError where it is none at all."""
    for name, stream in ((PLAIN, False), (STREAM, True)):
        if shape == name:
            return stream
        if shape.startswith(name + "{"):
            options = parse(shape.removeprefix(name).encode()).value
            if shape_of({"stream": stream, "stream_options": options}) == shape:
                return stream
    raise ValueError(f"field 'shape' is {shown(shape)}, which is no shape of an answer")


def embedded(body: bytes) -> Any:
    """Return a body as it stands in a line of JSON: as such where it is JSON itself, else as text."""
    try:
        document = parse(body)
    except ValueError:
        return _text(body)
    return document.value if document.exact else _text(body)


def pair(at: EntryKey, response: StoredResponse, *, request: bool = True, answer: bool = True) -> bytes:
    """Return a request and its answer, or one of them, as a line of JSON to work with."""
    held = {"request": embedded(response.request)} if request else {}
    if answer:
        held["response"] = embedded(response.body)
    return encode(
        {
            "key": at.key.hex(),
            "run": at.pool.partition("/")[0] or None,
            "sample": at.sample,
            "shape": at.shape,
            "route": response.route,
            "identity": response.source.identity,
            "created_at": response.created_at,
            "upstream_ms": response.upstream_ms,
            **held,
        }
    )


def _text(body: bytes) -> str | dict[str, str]:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode()}


def _bytes(body: str | _Binary) -> bytes:
    try:
        return body.encode() if isinstance(body, str) else base64.b64decode(body.base64, validate=True)
    except ValueError as error:
        raise ValueError(f"field 'body' is not what it says ({error})") from None


def _latin(text: str, field: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError(f"field '{field}' has {shown(text)}, which no header can carry") from None
