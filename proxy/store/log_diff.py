"""Two exchanges of the log, or two passes of runs, side by side: which requests differ, and which answers."""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlite_utils import Database

from proxy.core.document import parse
from proxy.store.codec import unpack
from proxy.store.differences import Difference, body_differences
from proxy.store.reading import exchange_row
from proxy.wire import compare, routes
from proxy.wire.key import canonical, prompt_hash
from proxy.wire.shape import PLAIN, shape_of

EXAMPLES = 5
FACTS = ("path", "status", "outcome", "error", "cache", "cache_key", "sample")
"""What two exchanges are compared by, beside their bodies."""

_ROWS = """SELECT id, path, request_body, sample FROM exchanges WHERE run = ? AND "pass" = ? ORDER BY seq"""

Row = Mapping[str, Any]


def exchanges_differ(one: Row, other: Row) -> dict[str, Any]:
    """Return `{"facts", "request", "answer"}`: in what two rows of the log differ.

    `facts` and `request` are lists of `{"field", "asked", "stored"}`, the first exchange's value and the second's, null
    where it is absent. Requests are those that the clients sent, None where one was not logged. `answer` is a list of
    `status`, `content`, `finish_reason`, `tool_calls` or `body`, None where an answer was not logged.
    """
    facts = [Difference(name, _shown(one[name]), _shown(other[name])) for name in FACTS if one[name] != other[name]]
    asked = _request(one), _request(other)
    request = None if asked[0] is None or asked[1] is None else _request_differences(asked[0], asked[1])
    answer = answers_differ(one, other)
    return {
        "facts": [item._asdict() for item in facts],
        "request": None if request is None else [item.shown()._asdict() for item in request],
        "answer": answer,
    }


def answers_differ(one: Row, other: Row) -> list[str] | None:
    """Return in what the answers of two exchanges differ, None where one was not logged."""
    if one["status"] != other["status"]:
        return ["status"]
    if one["response_body"] is None or other["response_body"] is None:
        return None
    first, second = unpack(one["response_body"]), unpack(other["response_body"])
    if first == second:
        return []
    shape = _shape(one)
    if one["status"] != 200 or shape is None or shape != _shape(other) or one["route"] != other["route"]:
        return ["body"]
    try:
        return compare.differences(one["route"], shape, first, second)
    except (KeyError, TypeError, ValueError):  # it is none that ends as the route's answers do
        return ["body"]


@dataclass(slots=True)
class _Side:
    """The requests of a pass."""

    run: str
    number: int
    ids: dict[tuple[bytes, str], str] = field(default_factory=dict)
    """Exchanges by what was asked, and which of those that asked the same it is."""
    unlogged: int = 0
    """Requests whose bodies are not in the log."""

    def described(self) -> dict[str, Any]:
        """Return it for people."""
        return {"run": self.run, "pass": self.number, "requests": len(self.ids) + self.unlogged}


def runs_differ(db: Database, one: tuple[str, int], other: tuple[str, int]) -> dict[str, Any]:
    """Return how the exchanges of two passes differ; each is a run and the number of its pass.

    Requests are the same if path and body, as the client sent it, are; of several that are the same the sample or the
    order decides. Returns `{"one", "other"}`, each with `run`, `pass` and `requests`; `both`, the requests that both
    asked; of these `same`, `differ` and `not_logged` (an answer is missing); `differ_in`, how many differ in what;
    `only_in_one`, `only_in_other`; `fields`, in which fields of their bodies those differ that ask the same prompt; and
    `examples` of answers that differ: `{"one", "other", "in"}`.
    """
    first, second = _side(db, *one), _side(db, *other)
    both = [asked for asked in first.ids if asked in second.ids]
    outcome: Counter[str] = Counter()
    differ_in: Counter[str] = Counter()
    examples: list[dict[str, Any]] = []
    for asked in both:
        pair = first.ids[asked], second.ids[asked]
        found = answers_differ(_row(db, pair[0]), _row(db, pair[1]))
        outcome["not_logged" if found is None else "differ" if found else "same"] += 1
        differ_in.update(found or [])
        if found and len(examples) < EXAMPLES:
            examples.append({"one": pair[0], "other": pair[1], "in": found})
    lone = [
        [side.ids[asked] for asked in side.ids if asked not in there.ids]
        for side, there in ((first, second), (second, first))
    ]
    return {
        "one": first.described(),
        "other": second.described(),
        "both": len(both),
        **{name: outcome[name] for name in ("same", "differ", "not_logged")},
        "differ_in": dict(differ_in.most_common()),
        "only_in_one": len(lone[0]),
        "only_in_other": len(lone[1]),
        "unlogged_requests": first.unlogged + second.unlogged,
        "fields": dict(_fields(db, lone[0], lone[1]).most_common()),
        "examples": examples,
    }


def _side(db: Database, run: str, number: int) -> _Side:
    side = _Side(run, number)
    times: Counter[bytes] = Counter()
    for exchange, path, packed, sample in db.execute(_ROWS, [run, number]):
        if packed is None:
            side.unlogged += 1
            continue
        asked = hashlib.sha256(path.encode() + b"\0" + unpack(packed)).digest()
        which = f"sample {sample}" if sample is not None else f"number {times[asked]}"
        times[asked] += 1
        side.ids[asked, which] = exchange  # a sample that was asked for again: the last answer is the one that counts
    return side


def _row(db: Database, exchange: str) -> Row:
    row = exchange_row(db, exchange)
    assert row is not None, "it has just been listed"
    return row


def _fields(db: Database, one: Sequence[str], other: Sequence[str]) -> Counter[str]:
    """Return in which fields requests differ that ask the same prompt, with how many pairs."""
    counted: Counter[str] = Counter()
    waiting: dict[bytes, list[bytes]] = defaultdict(list)
    for prompt, body in _prompts(db, other):
        waiting[prompt].append(body)
    for prompt, body in _prompts(db, one):
        if waiting[prompt]:
            counted.update({item.field for item in _request_differences(body, waiting[prompt].pop(0)) or []})
    return counted


def _prompts(db: Database, exchanges: Sequence[str]) -> Iterator[tuple[bytes, bytes]]:
    for exchange in exchanges:
        body = _request(_row(db, exchange))
        try:
            document = None if body is None else parse(body).value
            if body is not None and isinstance(document, dict):
                yield prompt_hash(document), body
        except ValueError:
            continue  # not JSON: it has no fields


def _request(row: Row) -> bytes | None:
    return None if row["request_body"] is None else unpack(row["request_body"])


def _request_differences(one: bytes, other: bytes) -> list[Difference]:
    """Return where two bodies differ; the order of what the cache ignores the order of is no difference."""
    try:
        return body_differences(_canonical(one), _canonical(other))
    except ValueError:
        return [] if one == other else [Difference("body", "not JSON", "not JSON")]


def _canonical(body: bytes) -> bytes:
    """Return an object's canonical form, with the fields that are not in the key."""
    document = parse(body).value
    if not isinstance(document, dict):
        return body
    return canonical(document, denied=frozenset())


def _shape(row: Row) -> str | None:
    """Return in which shape the client asked; None where that is not known."""
    packed = row["sent_body"] if row["sent_body"] is not None else row["request_body"]
    if packed is None or row["route"] is None:
        return None
    if row["route"] not in routes.GENERATION:
        return PLAIN
    try:
        document = parse(unpack(packed)).value
    except ValueError:
        return None
    return shape_of(document) if isinstance(document, dict) else None


def _shown(value: object) -> str | None:
    return None if value is None else str(value)
