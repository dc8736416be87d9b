"""The errors of the sidecar itself. What the model server answers, errors included, is a response instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import orjson


class ProxyError(Exception):
    """Something the sidecar has to answer for: rendered as an OpenAI-shaped body with a documented `code`."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    kind: ClassVar[str] = "server_error"
    retry_helps: ClassVar[bool] = False

    def __init__(self, message: str, *, headers: list[tuple[bytes, bytes]] | None = None) -> None:
        super().__init__(message)
        self.message = message.encode("utf-8", "replace").decode()  # a quoted lone surrogate would break the body
        self.headers = headers or []

    def document(self) -> dict[str, Any]:
        """Return the body as the OpenAI API shapes it."""
        return {"error": {"message": self.message, "type": self.kind, "param": None, "code": self.code}}

    def body(self) -> bytes:
        """Return the encoded body."""
        return orjson.dumps(self.document())

    def response_headers(self) -> list[tuple[bytes, bytes]]:
        """Return the headers that go with the body; `x-should-retry: false` tells SDKs when asking again is no use."""
        headers = [(b"content-type", b"application/json"), *self.headers]
        if not self.retry_helps:
            headers.append((b"x-should-retry", b"false"))
        return headers


class RequestError(ProxyError):
    """The request cannot be taken as it is: on a `/-/` route, a query parameter has a value it does not allow."""

    status = 400
    code = "invalid_request"
    kind = "invalid_request_error"


class InvalidJson(RequestError):
    """The body of a pipeline route is not JSON."""

    code = "invalid_json"


class UnsupportedEncoding(RequestError):
    """The body of a pipeline route has a content encoding other than gzip and deflate."""

    status = 415
    code = "unsupported_encoding"


class NotAnObject(RequestError):
    """The body of a pipeline route is JSON, but not an object."""

    code = "not_an_object"


class NotEditable(RequestError):
    """A transform has to change a body that cannot be rewritten without changing more than it should."""

    code = "not_editable"


class ChangeRefused(RequestError):
    """With `strict`, an interceptor would have changed the request or the answer."""

    code = "change_refused"

    @classmethod
    def of(cls, interceptor: str, on: str, fields: Iterable[str]) -> ChangeRefused:
        """Return the error for these fields of the `request` or the `answer`."""
        named = ", ".join(dict.fromkeys(fields))
        return cls(
            f"interceptor '{interceptor}' would change the {on} ({named}), and strict is set; send what needs no"
            f" change, or allow it with 'strict: false' among the options of '{interceptor}'"
        )


class UnsupportedParameter(RequestError):
    """`normalize` knows that the model server does not take a parameter of the request, or would ignore it."""

    code = "unsupported_parameter"


class InvalidHeader(RequestError):
    """A request header has a value that its meaning does not allow, or that HTTP cannot carry on."""

    code = "invalid_header"


class InvalidRun(RequestError):
    """The run's name is not valid, or URL and header name two different runs."""

    code = "invalid_run"


class NotCarried(RequestError):
    """A bridge to another route has no place for a field of the request, and the answer would be another without it."""

    code = "not_carried"


class Unauthorized(ProxyError):
    """A client token is configured and the request does not carry it."""

    status = 401
    code = "unauthorized"
    kind = "authentication_error"


class Forbidden(ProxyError):
    """The Host, the Origin or the address of the request is not one the operator allowed."""

    status = 403
    code = "forbidden"
    kind = "permission_error"


class ForeignHost(Forbidden):
    """The Host of a `/-/` route is neither loopback nor in `allowed_hosts` (a guard against DNS rebinding)."""

    code = "foreign_host"


class ForeignOrigin(Forbidden):
    """A browser page of another origin sent the request."""

    code = "foreign_origin"


class BindNotAllowed(Forbidden):
    """The request came in on an address beyond loopback, and neither a token nor `auth: {anonymous: true}` is set."""

    code = "bind_not_allowed"


class NotFound(ProxyError):
    """There is no such `/-/` route, run or exchange."""

    status = 404
    code = "not_found"
    kind = "not_found_error"


class MethodNotAllowed(ProxyError):
    """The `/-/` route is there, but not for this method."""

    status = 405
    code = "method_not_allowed"
    kind = "invalid_request_error"


class Conflict(ProxyError):
    """A `/-/` route would change a run in a way that what is there already does not allow."""

    status = 409
    code = "conflict"
    kind = "invalid_request_error"


class RunAborted(ProxyError):
    """An earlier answer of the run's pass made `raise_client_errors` give it up."""

    status = 424
    code = "run_aborted"
    kind = "invalid_request_error"


class SessionBudgetExhausted(ProxyError):
    """The conversation has more turns than `turn_counter` allows."""

    status = 429
    code = "session_budget_exhausted"
    kind = "invalid_request_error"


class QueueFull(ProxyError):
    """As many requests as `limit` allows are on their way, and as many wait."""

    status = 503
    code = "queue_full"
    retry_helps = True


class BodyTooLarge(ProxyError):
    """The body is larger than `max_body_bytes`."""

    status = 413
    code = "body_too_large"
    kind = "invalid_request_error"


class InterceptorFailed(ProxyError):
    """An interceptor that changes requests or answers raised: the exchange is not scored on half-done work."""

    status = 500
    code = "interceptor_failed"


class ReplayMiss(ProxyError):
    """The cache mode is `replay` and nothing that was stored answers the request: the model server is never asked."""

    status = 504
    code = "replay_miss"


class SampleBusy(ProxyError):
    """The sample that `x-evalside-sample` names is being asked for by another request of the run at this moment."""

    status = 409
    code = "sample_busy"
    retry_helps = True


class StoreUnwritable(ProxyError):
    """The store cannot lease a sample of the run, so that the answer could not be told from another's."""

    status = 503
    code = "store_unwritable"
    retry_helps = True


class StoreUnreadable(ProxyError):
    """A `/-/` route needs the store, and it cannot be read; the message names the file."""

    status = 500
    code = "store_unreadable"


class ServerUnknown(ProxyError):
    """`normalize` with `dialect: auto` has to know which model server there is, and it cannot be asked now."""

    status = 503
    code = "server_unknown"
    kind = "upstream_error"
    retry_helps = True


class ShuttingDown(ProxyError):
    """The sidecar was stopped before the answer was whole."""

    status = 503
    code = "shutting_down"
    retry_helps = True


class UpstreamUnreachable(ProxyError):
    """No connection to the model server could be made."""

    status = 502
    code = "upstream_unreachable"
    kind = "upstream_error"
    retry_helps = True


class UpstreamIncomplete(ProxyError):
    """The model server closed the connection before its answer was whole, or did not speak HTTP."""

    status = 502
    code = "upstream_incomplete"
    kind = "upstream_error"
    retry_helps = True


class AnswerNotEditable(ProxyError):
    """A transform has to change an answer that cannot be changed exactly, or not be read."""

    status = 502
    code = "answer_not_editable"


class UpstreamTimeout(ProxyError):
    """The model server did not accept a connection, or did not begin a streamed answer, within its time."""

    status = 504
    code = "upstream_timeout"
    kind = "upstream_error"
    retry_helps = True


class UpstreamStalled(ProxyError):
    """A streamed answer stopped for longer than `timeout.idle`."""

    status = 504
    code = "upstream_stalled"
    kind = "upstream_error"
    retry_helps = True
