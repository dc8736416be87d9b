"""Why the cache did not answer: the nearest stored entry, and in what the request differs from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson
from sqlite_utils import Database

from proxy.cache.place import NotCacheable, Place, Rules, place_of
from proxy.core.errors import ProxyError, ReplayMiss
from proxy.core.http import Payload, Request
from proxy.core.redact import REDACTED, without_secrets
from proxy.store.base import POOLED, KeySource, StoredResponse
from proxy.store.codec import unpack, unpack_headers
from proxy.store.differences import Difference, body_differences, map_differences
from proxy.store.rows import COLUMNS, read_response
from proxy.store.samples import ancestors
from proxy.store.unconfirmed import waiting
from proxy.wire import routes

_SAME_PROMPT = 500
"""Entries with the same prompt that are compared, newest first."""
_SAME_ROUTE = 200
_NEWEST = 2000
"""Entries that are looked at for ones of the same route."""
_MOST_BYTES = 16 * 1024 * 1024
"""Of stored requests that are compared; the nearest is rarely among the oldest."""

# Headers and bodies of answers are long and not compared: their pages are not read.
_LIGHT = "key, pool, sample, shape, " + COLUMNS.replace("headers, body", "x'5b5d', x'00'")
_BY_KEY = f"SELECT {_LIGHT} FROM responses WHERE key = ? ORDER BY id DESC LIMIT 1"
_BY_PROMPT = f"SELECT {_LIGHT} FROM responses WHERE prompt = ? ORDER BY id DESC LIMIT {_SAME_PROMPT}"
_BY_ROUTE = (
    f"SELECT {_LIGHT} FROM (SELECT * FROM responses ORDER BY id DESC LIMIT {_NEWEST}) AS responses WHERE route = ?"
    f" LIMIT {_SAME_ROUTE}"
)
_IDENTITIES = f"""SELECT identity FROM run_identities UNION SELECT identity FROM
(SELECT identity FROM responses WHERE prompt = ? ORDER BY id DESC LIMIT {_SAME_PROMPT})"""
_ASKED = f"SELECT asked FROM responses WHERE prompt = ? ORDER BY id DESC LIMIT {_SAME_PROMPT}"
_FACTS = "SELECT facts FROM run_identities WHERE identity = ? LIMIT 1"

_UNCONFIRMED = (
    " Answers to the same request that wait until it is confirmed which model server gave them: {}."
    " The next request for that model with the same credentials decides on what a sidecar left that is gone."
)


class NotExplained(Exception):
    """The request cannot be compared with what is stored; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that the cache did not answer, as far as it is still known."""

    place: Place
    run: str | None = None
    """None where it is not known."""
    identity: str | None = None
    """Of the model server, None where it is not known."""
    key: bytes | None = None
    """None where the request never got one."""
    received: str | None = None
    """Hash of the body as it was received, None where it was not logged."""
    sample: int | None = None
    at: float | None = None
    """Seconds since the epoch. An entry of the same key from then on is the request's own answer."""


class Entry(NamedTuple):
    """A stored answer without the answer."""

    key: bytes
    pool: str
    sample: int
    shape: str
    stored: StoredResponse


@dataclass(frozen=True, slots=True)
class Nearest:
    """The entry that is most like the request."""

    entry: Entry
    differences: list[Difference]
    later: bool
    """Whether it was stored after the request: such a one is told only where nothing was stored before."""
    facts: list[Difference] = field(default_factory=list)
    """In what the model servers differ, where the identity is among the differences and both are known."""
    compared: int = 0
    """How many entries it was chosen from."""


def asked_of_body(body: bytes, *, path: str, key_headers: Iterable[str] = (), identity: str | None = None) -> Asked:
    """Return the request with this body to this path, which may have a query.

    Raises:
        NotExplained: such a request is not cached.
    """
    where, _, query = path.partition("?")
    route, target = routes.match("POST", where.encode("utf-8", "replace"))
    if route is None:
        known = ", ".join(name.decode() for name in routes.PIPELINE)
        raise NotExplained(f"'{where}' is not a pipeline route, so nothing is cached for it; those are {known}")
    request = Request("POST", target, query.encode("utf-8", "replace"), [], Payload(body))
    return Asked(_place(request, route, key_headers), identity=identity)


def asked_by_exchange(row: Mapping[str, Any], caches: Sequence[Database], key_headers: Iterable[str]) -> Asked:
    """Return what a row of the exchange log asked for.

    It is put together from what the log holds. Secrets of the query are not in it; those of entries with the same
    prompt are tried in their place. Where all that gives another key (the log does not know what was added to headers)
    and the answer was stored, it is what was stored with the answer.

    Raises:
        NotExplained: neither is there.
    """
    key = bytes.fromhex(row["cache_key"]) if row["cache_key"] else None
    received = row["request_body"]
    about: dict[str, Any] = {
        "run": row["run"],
        "key": key,
        "received": hashlib.sha256(unpack(received)).hexdigest()[:32] if received is not None else None,
        "sample": row["sample"],
        "at": row["started_at"],
    }
    own = next((entry for db in caches if key is not None for entry in _entries(db, _BY_KEY, key)), None)
    try:
        place = _logged_place(_as_sent(row), key_headers)
    except NotExplained:
        if own is None:
            raise
    else:
        known = _resolved(place, key, caches)
        if known is not None:
            return Asked(known.place, identity=known.identity, **about)
        if own is None:
            return Asked(place, **about)
    return Asked(_stored_place(own), identity=own.stored.source.identity, **about)


def is_miss(row: Mapping[str, Any]) -> bool:
    """Return whether the exchange is one that the cache should have answered and could not."""
    return bool(row["cache"] == "miss" or row["error"] == ReplayMiss.code)


def of_exchange(row: Mapping[str, Any], caches: Sequence[Database], key_headers: Iterable[str]) -> dict[str, Any]:
    """Return what `explain` says about a row of the exchange log, or what is missing to compare it."""
    reason = row["reason"]
    try:
        return explain(asked_by_exchange(row, caches, key_headers), caches, reason)
    except NotExplained as error:
        text = _said(reason) + str(error)[0].upper() + str(error)[1:] + "."
        return {"reason": reason, "compared": 0, "nearest": None, "unconfirmed": 0, "text": text}


def explain(asked: Asked, caches: Sequence[Database], reason: str | None = None) -> dict[str, Any]:
    """Return `{"reason", "compared", "nearest", "unconfirmed", "text"}`.

    What to look at is read by index, or the newest 2000 entries. `unconfirmed` counts answers to the same request that
    are no entries yet.

    `nearest` is None where nothing like the request is stored, else has the entry's `key`, `run`, `sample`, `shape`,
    `route`, `identity`, `created_at`, `later` (than the request), and `fields`: `{"field", "asked", "stored"}` each,
    values as JSON text cut to where they differ, null where the field is absent. The identity's has `facts` in the
    same form.
    """
    found = [item for item in (nearest(db, asked) for db in caches) if item is not None]
    best = min(found, key=lambda item: (item.later, len(item.differences)), default=None)
    held = sum(waiting(db, asked.place.prompt(), asked.place.request) for db in caches)
    text = _text(best, asked) if best is not None else "Nothing like it is stored."
    return {
        "reason": reason,
        "compared": sum(item.compared for item in found),
        "nearest": None if best is None else _described(best),
        "unconfirmed": held,
        "text": _said(reason) + text + (_UNCONFIRMED.format(held) if held else ""),
    }


def nearest(db: Database, asked: Asked) -> Nearest | None:
    """Return the entry with the fewest differences, the newest of several; None where none is comparable."""
    best: Nearest | None = None
    compared = size = 0
    runs = [] if asked.run is None else ancestors(db.conn, asked.run)
    for entry in _candidates(db, asked):
        differences = _differences(asked, entry, runs)
        later = asked.at is not None and entry.stored.created_at >= asked.at
        compared += 1
        size += len(entry.stored.request)
        if best is None or (later, len(differences)) < (best.later, len(best.differences)):
            best = Nearest(entry, differences, later)
        if size > _MOST_BYTES:
            break
    if best is None:
        return None
    identity = best.entry.stored.source.identity
    differ = asked.identity not in {None, identity}
    facts = map_differences(_facts(db, asked.identity or ""), _facts(db, identity)) if differ else []
    return replace(best, facts=facts, compared=compared)


def _logged_place(row: Mapping[str, Any], key_headers: Iterable[str]) -> Place:
    packed = row["sent_body"] if row["sent_body"] is not None else row["request_body"]
    if packed is None or row["route"] is None:
        raise NotExplained(
            "the log holds no body of this request (request_logging: log_request_body, max_requests), and no answer to"
            " it is stored, so that it cannot be compared with what is"
        )
    path, _, query = row["path"].partition("?")
    headers = unpack_headers(row["request_headers"]) if row["request_headers"] is not None else []
    request = Request(row["method"], path.encode("latin-1"), b"", headers, Payload(unpack(packed)))
    return replace(_place(request, row["route"], key_headers), query=query)  # secrets are taken out of it already


def _place(request: Request, route: str, key_headers: Iterable[str]) -> Place:
    names = tuple(name.lower().encode("latin-1") for name in key_headers)
    try:
        return place_of(request, route, Rules(names, allow_remote_media=True))
    except (NotCacheable, ProxyError) as error:
        raise NotExplained(f"the request cannot be cached: {error}") from None


def _as_sent(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row with the route and the path that were asked: where a bridge was crossed, the ledger has them."""
    sent = dict(row)
    for change in json.loads(unpack(row["changes"])) if row["changes"] is not None else ():
        if change["on"] == "request" and change["field"] == "path":
            _, mark, query = sent["path"].partition("?")
            sent["route"] = routes.match("POST", change["to"].encode("latin-1"))[0]
            sent["path"] = change["to"] + mark + query
    return sent


def _stored_place(entry: Entry) -> Place:
    stored = entry.stored
    return Place(
        route=stored.route,
        method=stored.source.method,
        path=stored.source.path,
        query=stored.source.query,
        headers=stored.source.headers,
        request=stored.request,
        prompt=lambda: stored.prompt,
        deterministic=entry.pool == POOLED,
        shape=entry.shape,
        model=None,
    )


class _Resolved(NamedTuple):
    """What the log does not hold, and the key proves."""

    place: Place
    identity: str


def _resolved(place: Place, key: bytes | None, caches: Iterable[Database]) -> _Resolved | None:
    """Return the identity, and the query's secrets, with which the request has this key; None where none is known."""
    for db in caches:
        candidates = [replace(place, query=query) for query in _queries(db, place)]
        for (name,) in db.execute(_IDENTITIES, [place.prompt()]).fetchall():
            for candidate in candidates:
                if candidate.key(name) == key:
                    return _Resolved(candidate, str(name))
    return None


def _queries(db: Database, place: Place) -> list[str]:
    """Return the queries that the logged one may stand for: itself, or those of entries that differ in secrets."""
    if REDACTED not in place.query:
        return [place.query]
    stored = (orjson.loads(row[0] or "{}").get("query", "") for row in db.execute(_ASKED, [place.prompt()]).fetchall())
    return [query for query in dict.fromkeys(stored) if _masked(query) == _masked(place.query)]


def _masked(query: str) -> str:
    return without_secrets(query, lambda value: REDACTED)


def _candidates(db: Database, asked: Asked) -> Iterator[Entry]:
    """Yield what is stored like the request, newest first: of the same prompt, else of the same route."""
    none = True
    for entry in _entries(db, _BY_PROMPT, asked.place.prompt()):
        if not _is_own(asked, entry):
            none = False
            yield entry
    if none:
        for entry in _entries(db, _BY_ROUTE, asked.place.route):
            if not _is_own(asked, entry):
                yield entry


def _entries(db: Database, sql: str, value: object) -> Iterator[Entry]:
    for key, pool, sample, shape, *row in db.execute(sql, [value]):
        try:
            yield Entry(key, pool, sample, shape, read_response(row))
        except ValueError:  # damaged: it cannot be compared, and the others can
            pass


def _is_own(asked: Asked, entry: Entry) -> bool:
    return asked.at is not None and entry.key == asked.key and entry.stored.created_at >= asked.at


def _differences(asked: Asked, entry: Entry, runs: list[str]) -> list[Difference]:
    """Return all that differs in what the key is made of, else in where the answer is kept."""
    place, source = asked.place, entry.stored.source
    found: list[Difference] = []
    answered = (
        {"identity": source.identity} if source.identity else {}
    )  # an early version did not keep it, nor the path
    if asked.identity is not None:
        found += map_differences({"identity": asked.identity}, answered)
    elif asked.key is not None and _like(place, source).key(source.identity) != asked.key:
        if REDACTED in place.query:
            found.append(Difference("query (secrets)", "unknown", "unknown"))
        found += [Difference("identity", "unknown", stored) for _, _, stored in map_differences({}, answered)]
    if source.path:
        found += map_differences(
            {"method": place.method, "path": place.path, "query": _like(place, source).query},
            {"method": source.method, "path": source.path, "query": source.query},
        )
        found += map_differences(_joined(place.headers), _joined(source.headers), "headers.")
    found += body_differences(place.request, entry.stored.request)
    return found or _where(asked, entry, runs)


def _like(place: Place, source: KeySource) -> Place:
    """Return the request with the entry's secrets, where only they can differ in the query: the log has none."""
    unknown = REDACTED in place.query and _masked(place.query) == _masked(source.query)
    return replace(place, query=source.query) if unknown else place


def _joined(headers: list[tuple[str, str]]) -> dict[str, str]:
    fields: dict[str, str] = {}
    for name, value in headers:
        fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _where(asked: Asked, entry: Entry, runs: list[str]) -> list[Difference]:
    """Return why an answer to the very same request was not one for this run, in this shape."""
    found = []
    run, _, received = entry.pool.partition("/")
    if entry.pool != POOLED and asked.run is not None:
        if run not in runs:
            found += map_differences({"run": asked.run}, {"run": run})
        elif asked.received is not None and received not in {asked.received, ""}:
            found += map_differences({"received body": asked.received}, {"received body": received})
        elif entry.sample != asked.sample:
            found.append(Difference("sample", None if asked.sample is None else str(asked.sample), str(entry.sample)))
    return found + map_differences({"shape": asked.place.shape}, {"shape": entry.shape})


def _facts(db: Database, identity: str) -> dict[str, str]:
    row = db.execute(_FACTS, [identity]).fetchone()
    facts: dict[str, str] = orjson.loads(row[0]) if row is not None else {}
    return facts


def _described(best: Nearest) -> dict[str, Any]:
    entry = best.entry
    fields = []
    for difference in best.differences:
        shown: dict[str, Any] = difference.shown()._asdict()
        if difference.field == "identity":
            shown["facts"] = [item.shown()._asdict() for item in best.facts]
        fields.append(shown)
    return {
        "key": entry.key.hex(),
        "run": entry.stored.run,
        "sample": entry.sample,
        "shape": entry.shape,
        "route": entry.stored.route,
        "identity": entry.stored.source.identity,
        "created_at": entry.stored.created_at,
        "later": best.later,
        "fields": fields,
    }


def _said(reason: str | None) -> str:
    return "" if reason is None else f"The cache says: {reason}. "


def _text(best: Nearest, asked: Asked) -> str:
    entry = best.entry
    when = datetime.fromtimestamp(entry.stored.created_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    nearest_one = f"{entry.key.hex()[:12]}, first asked for by run '{entry.stored.run}', {when}"
    if best.later:
        nearest_one += ", after this request"
    number = len(best.differences)
    if best.differences:
        fields = "; ".join(str(item.shown()) for item in best.differences)
        told = f"{number} {'field differs' if number == 1 else 'fields differ'}: {fields}"
    elif asked.identity is None and asked.key is None:
        told = f"Nothing differs, unless it is the model server: it is an answer of {entry.stored.source.identity}"
    else:
        told = "Nothing differs: it answers this request, where the mode of the cache lets it"
    return f"The nearest stored entry is {nearest_one}. {told}."
