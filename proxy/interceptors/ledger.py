"""Keeps the ledger of each exchange in its log row, and counts its entries for the run. Implied by any transform."""

from __future__ import annotations

import hashlib
from typing import Any

from proxy.core.difference import ABSENT, Difference, without_indexes
from proxy.core.document import encode
from proxy.core.http import Exchange, Headers, Response
from proxy.core.ledger import Change
from proxy.core.pipeline import Next
from proxy.core.redact import REDACTED, SECRET_NAME, Redactor
from proxy.interceptors.base import Services
from proxy.interceptors.row import Row, row_of
from proxy.store.base import ChangeKind

LARGEST = 1000
"""Bytes of JSON. A larger value is kept as its hash and length: the bodies are in the log, too."""
_DEEPEST = 200
"""Levels at most, so that an entry around them can be written as JSON."""
_LONGEST = 200
"""Characters of a field's name that entries are counted by."""


class LedgerObserver:
    """An observer that no configuration names."""

    def __init__(self, services: Services) -> None:
        self._log = services.log
        self._redactor = services.redactor

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        row = row_of(exchange, self._log, self._redactor)
        row.before_written(lambda: self._keep(exchange, row))
        return await row.follow(exchange, call_next)

    def _keep(self, exchange: Exchange, row: Row) -> None:
        changes = exchange.ledger.changes
        if changes:
            row.record.changes = described(changes, self._redactor, exchange.received_headers)
        self._log.count_changes(exchange.run, {_kind(change) for change in changes})


def described(changes: list[Change], redactor: Redactor, headers: Headers) -> bytes:
    """Return the entries as a JSON array, without this process's secrets and those of the request's `headers`.

    Each is `{"interceptor", "on", "field", "from", "to", "why", "times"}`; where something was added there is no
    `from`, where it was removed no `to`. For a large value there is `from_hash` or `to_hash` instead, `{"sha256",
    "bytes"}` of its JSON.
    """
    return redactor.raw(encode([_entry(change) for change in changes]), headers)


def _entry(change: Change) -> dict[str, Any]:
    what = change.what
    secret = change.part == "header" and SECRET_NAME.search(str(what.path[0]))
    entry: dict[str, Any] = {"interceptor": change.interceptor, "on": change.on, "field": change.field}
    for name, value in (("from", what.before), ("to", what.after)):
        if value is ABSENT:
            continue
        raw = encode(REDACTED if secret else value)
        if len(raw) > LARGEST or raw.count(b"[") + raw.count(b"{") > _DEEPEST:
            entry[f"{name}_hash"] = {"sha256": hashlib.sha256(raw).hexdigest(), "bytes": len(raw)}
        else:
            entry[name] = REDACTED if secret else value
    return {**entry, "why": change.why, "times": change.times}


def _kind(change: Change) -> ChangeKind:
    return ChangeKind(
        change.interceptor, change.on, without_indexes(change.field)[:_LONGEST], _what(change.what), change.why
    )


def _what(what: Difference) -> str:
    if what.order:
        return "reordered"
    if what.before is ABSENT:
        return "added"
    return "removed" if what.after is ABSENT else "changed"
