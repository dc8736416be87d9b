"""Which requests run through the pipeline, and where they stand on the model server."""

from __future__ import annotations

CHAT = "chat"
COMPLETIONS = "completions"
EMBEDDINGS = "embeddings"
RESPONSES = "responses"
MESSAGES = "messages"
RERANK = "rerank"
SCORE = "score"
TOKENIZE = "tokenize"
DETOKENIZE = "detokenize"

PIPELINE: dict[bytes, str] = {
    b"/v1/chat/completions": CHAT,
    b"/v1/completions": COMPLETIONS,
    b"/v1/embeddings": EMBEDDINGS,
    b"/v1/responses": RESPONSES,
    b"/v1/messages": MESSAGES,
    b"/v1/rerank": RERANK,
    b"/v1/score": SCORE,
    b"/tokenize": TOKENIZE,
    b"/detokenize": DETOKENIZE,
}
"""Path -> route. Only POST runs the pipeline; every other method and path is relayed."""

GENERATION = frozenset({CHAT, COMPLETIONS, RESPONSES, MESSAGES})
"""The routes on which a model writes text, and on which transforms act unless told otherwise."""

SAMPLING = GENERATION
"""The routes whose answers are drawn at random unless the temperature is 0; all others give one answer per input."""

_SHORT = {
    b"/chat/completions": b"/v1/chat/completions",
    b"/completions": b"/v1/completions",
    b"/embeddings": b"/v1/embeddings",
    b"/responses": b"/v1/responses",
    b"/messages": b"/v1/messages",
}


def match(method: str, path: bytes) -> tuple[str | None, bytes]:
    """Return the pipeline route, None for what is only relayed, and the path with `/v1` where it was left out."""
    if method != "POST":
        return None, path
    path = _SHORT.get(path, path)
    return PIPELINE.get(path), path
