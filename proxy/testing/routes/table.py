"""Finds the route of a request and turns errors into answers."""

import hmac
import logging
from collections.abc import Callable
from typing import Any

from proxy.testing.errors import ApiError
from proxy.testing.model import Model
from proxy.testing.recording import RecordedRequest
from proxy.testing.replies import Reply
from proxy.testing.routes import info
from proxy.testing.routes.chat import chat
from proxy.testing.routes.completions import completions
from proxy.testing.routes.embeddings import embeddings
from proxy.testing.routes.messages import messages
from proxy.testing.routes.ranking import rerank, score
from proxy.testing.routes.responses import responses
from proxy.testing.routes.tokenization import detokenize, tokenize

logger = logging.getLogger(__name__)

POST_ROUTES: dict[str, Callable[[Model, dict[str, Any]], Reply]] = {
    "/v1/chat/completions": chat,
    "/v1/completions": completions,
    "/v1/embeddings": embeddings,
    "/v1/responses": responses,
    "/v1/messages": messages,
    "/v1/rerank": rerank,
    "/rerank": rerank,
    "/v1/score": score,
    "/score": score,
    "/tokenize": tokenize,
    "/detokenize": detokenize,
}
GET_ROUTES = frozenset({"/health", "/version", "/metrics", "/v1/models"})
MODEL_PREFIX = "/v1/models/"


def answer(model: Model, request: RecordedRequest, running: Callable[[], int]) -> Reply:
    """The default answer to a request. `running` counts the requests being answered, for the metrics."""
    try:
        _check_key(model, request)
        return _route(model, request, running)
    except ApiError as error:
        reply = error.reply(model.options.error_key)
        return _anthropic(error) if request.path == "/v1/messages" else reply
    except Exception as error:  # a scripted answer that raises is the test's bug: show it instead of hanging
        logger.exception("answering %s %s failed", request.method, request.path)
        return ApiError(500, f"{type(error).__name__}: {error}").reply()


def _route(model: Model, request: RecordedRequest, running: Callable[[], int]) -> Reply:
    path, method = request.path, request.method
    if path in POST_ROUTES:
        _check_method(method, {"POST"})
        return POST_ROUTES[path](model, _json_object(request))
    if path in GET_ROUTES or path.startswith(MODEL_PREFIX):
        _check_method(method, {"GET", "HEAD"} if path == "/metrics" else {"GET"})
        return _get(model, path, running)
    raise ApiError(404, "Not Found")


def _get(model: Model, path: str, running: Callable[[], int]) -> Reply:
    match path:
        case "/health":
            return info.health()
        case "/version":
            return info.version(model)
        case "/metrics":
            return info.metrics(model, running())
        case "/v1/models":
            return info.models(model)
        case _:
            return info.one_model(model, path.removeprefix(MODEL_PREFIX))


def _check_method(method: str, allowed: set[str]) -> None:
    if method not in allowed:
        raise ApiError(405, "Method Not Allowed")


def _check_key(model: Model, request: RecordedRequest) -> None:
    """As in vLLM only what is under /v1 needs the key; health checks and metrics do not."""
    key = model.options.api_key
    if key is None or not request.path.startswith("/v1/"):
        return
    given = [value.removeprefix("Bearer ") for value in request.header_values("authorization")]
    given += request.header_values("x-api-key")
    if not any(hmac.compare_digest(value.encode(), key.encode()) for value in given):
        raise ApiError(401, "Invalid or missing API key.")


def _json_object(request: RecordedRequest) -> dict[str, Any]:
    try:
        body = request.json
    except ValueError as error:
        raise ApiError(400, f"The request body is not valid JSON: {error}") from None
    if not isinstance(body, dict):
        raise ApiError(400, f"The request body must be a JSON object, but is {type(body).__name__}")
    return body


def _anthropic(error: ApiError) -> Reply:
    kinds = {400: "invalid_request_error", 401: "authentication_error", 404: "not_found_error"}
    fields = {"type": kinds.get(error.status, "api_error"), "message": error.message}
    return Reply(status=error.status, json={"type": "error", "error": fields})
