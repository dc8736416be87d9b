"""In place of the model server, where a bundle is replayed."""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from proxy.core.errors import ReplayMiss
from proxy.core.http import Exchange, Payload, Response

_JSON = [(b"content-type", b"application/json")]


class Recorded:
    """Answers what clients ask before they begin; whatever else gets here was not recorded.

    Args:
        models: names of the models that the recorded requests name.
    """

    def __init__(self, models: Sequence[str]) -> None:
        cards = [{"id": name, "object": "model", "created": 0, "owned_by": "recorded"} for name in models]
        self._answers = {
            b"/v1/models": orjson.dumps({"object": "list", "data": cards}),
            b"/health": orjson.dumps({"status": "ok"}),
        }

    async def __call__(self, exchange: Exchange) -> Response:
        """Return the list of models, or that all is well.

        Raises:
            ReplayMiss: anything else was asked.
        """
        request = exchange.request
        body = self._answers.get(request.path) if request.method == "GET" else None
        if body is None:
            path = request.path.decode("latin-1")
            raise ReplayMiss(f"a recorded run is replayed, there is no model server, and no {request.method} {path}")
        return Response(200, list(_JSON), Payload(body))
