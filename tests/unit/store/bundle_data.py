"""Answers and stores to make bundles of."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from proxy.store import samples
from proxy.store.base import POOLED, EntryKey, KeySource, StoredResponse, sample_pool
from proxy.store.keys import key_of
from proxy.store.rows import COLUMNS, read_response, write_response
from proxy.store.sqlite import SqliteStore
from proxy.wire.key import canonical, prompt_hash

IDENTITY = "llama-server one"
RECEIVED = "ab" * 16
OTHER = "cd" * 16
JSON = [(b"content-type", b"application/json")]
EVENTS = [(b"content-type", b"text/event-stream")]
STREAM = (
    b'data: {"choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":null}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)
PIPELINE = {"interceptors": [{"name": "caching", "config": {}}], "fingerprint": "0123456789abcdef"}

Kept = tuple[EntryKey, StoredResponse]


def plain(text: str = "hi") -> bytes:
    """A complete chat completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    return json.dumps({"choices": [choice]}, ensure_ascii=False).encode()


def answer(
    content: str = "hello", *, pool: str = POOLED, sample: int = 0, shape: str = "plain", **changes: Any
) -> Kept:
    """An answer to a chat request, and where it is kept; `changes` are fields of StoredResponse."""
    temperature = 0 if pool == POOLED else 0.7
    document = {"model": "m", "messages": [{"role": "user", "content": content}], "temperature": temperature}
    source = changes.pop("source", KeySource(IDENTITY, "POST", "/v1/chat/completions", "", []))
    request = changes.pop("request", canonical(document))
    streamed = shape.startswith("sse")
    facts = {
        "status": 200,
        "headers": EVENTS if streamed else JSON,
        "body": STREAM if streamed else plain(f"answer {sample} to {content}"),
        "route": "chat",
        "upstream_ms": 12.5,
        "created_at": 1000.0 + sample,
        **changes,
    }
    response = StoredResponse(request=request, source=source, prompt=prompt_hash(document), **facts)
    return EntryKey(key_of(source, request), pool, sample, shape), response


def new_store(path: Path) -> Path:
    """An empty database."""
    store = SqliteStore(path)
    store.open()
    store.close()
    return path


def put(path: Path, *kept: Kept) -> None:
    """Write answers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for at, response in kept:
            write_response(db, at, response)


def use(path: Path, run: str, *kept: Kept, served: bool = True) -> None:
    """Count that a run used answers."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        for at, _ in kept:
            samples.count(db, run, (at.key, at.pool, at.sample or 0), asked=not served, served=served)


def full_store(path: Path) -> Path:
    """Run `one` with two deterministic answers, in two shapes, and two samples; run `two` with others."""
    new_store(path)
    shared, streamed = answer("shared"), answer("shared", shape="sse")
    own = [answer("drawn", pool=sample_pool("one", RECEIVED), sample=index) for index in (0, 1)]
    foreign = answer("foreign"), answer("drawn", pool=sample_pool("two", RECEIVED), body=plain("of two"))
    put(path, shared, streamed, answer("é ☃ \0"), *own, *foreign)
    use(path, "one", shared, answer("é ☃ \0"), *own)
    use(path, "two", *foreign)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        samples.new_pass(db, "one", source=None, mode=None)
        row = ("one", IDENTITY, "llamacpp", '{"b":"2","a":"1"}', 900.0)
        db.execute("INSERT INTO run_identities (run, identity, server, facts, first_at) VALUES (?, ?, ?, ?, ?)", row)
    return path


def contents(path: Path) -> list[Kept]:
    """Every answer, as the store reads it."""
    with closing(sqlite3.connect(path)) as db:
        rows = db.execute(
            f"SELECT key, pool, sample, shape, {COLUMNS} FROM responses ORDER BY pool, key, sample, shape"
        )
        return [(EntryKey(*row[:4]), read_response(row[4:])) for row in rows]


def rows(path: Path, table: str) -> list[tuple[Any, ...]]:
    """Every row of a table."""
    with closing(sqlite3.connect(path)) as db:
        return sorted(db.execute(f"SELECT * FROM {table}").fetchall(), key=repr)
