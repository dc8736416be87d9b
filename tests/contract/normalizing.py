"""What the tests of normalize share: a server that takes little, and what holds for every logged exchange."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import CHAT, Sidecar

COMPLETIONS = "/v1/completions"
TAKEN = ("model", "messages", "prompt", "stream", "max_tokens", "temperature", "top_p", "seed", "stop", "suffix")
"""By `transformers serve`."""


def normalize(*others: Any, **options: Any) -> list[Any]:
    return ["request_logging", {"name": "normalize", "config": options}, "caching", *others]


TRANSFORMERS = normalize(dialect="transformers")


def refusing(*taken: str) -> Any:
    """A rule of a server that refuses every other field, in the words of transformers serve."""

    def rule(request: Any) -> Reply | None:
        unexpected = sorted(set(request.json) - set(taken))
        listed = ", ".join(f"'{name}'" for name in unexpected)
        refusal = Reply(status=422, json={"detail": f"Unexpected fields in the request: {{{listed}}}"})
        return refusal if unexpected else None

    return rule


@contextmanager
def strict_server() -> Iterator[ModelServer]:
    """A server that behaves as `transformers serve` does, and tells as little of itself."""
    with ModelServer("lab/model", error_key="detail", send_done=False) as running:
        cards = [{"id": "lab/model", "object": "model", "created": 1, "owned_by": "lab"}]
        running.on("/v1/models", Reply(json={"object": "list", "data": cards}))
        for path in ("/version", "/metrics"):
            running.on(path, Reply(status=404, json={"detail": "Not Found"}))
        running.on(CHAT, refusing(*TAKEN))
        running.on(COMPLETIONS, refusing(*TAKEN))
        yield running


async def replayed(proxy: Sidecar) -> None:
    """What was received, with the ledger's entries made to it, is what was sent: for each logged exchange."""
    for row in await proxy.rows():
        received, sent = json.loads(row["request_body"]), row["sent_body"]
        for change in row["changes"]:
            if change["on"] == "request" and change["interceptor"] == "normalize":
                if "to" not in change:
                    received.pop(change["field"], None)
                elif change["field"] != "seed":
                    received[change["field"]] = change["to"]
        assert received == (json.loads(sent) if sent is not None else json.loads(row["request_body"]))
