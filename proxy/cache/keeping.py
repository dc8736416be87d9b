"""Keeps complete answers, once it is known that the same model server stood before and behind them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from proxy.cache.identities import Identities
from proxy.cache.place import Place
from proxy.core.collect import Collector
from proxy.core.facts import NoDone, UpstreamFacts
from proxy.core.hop import HOP_BY_HOP
from proxy.core.http import Exchange, Headers, Response, get_header
from proxy.core.redact import Redactor, is_secret_option, secret_fields
from proxy.core.stream import Outcome
from proxy.store.base import DEFAULT_RUN, Asker, CacheStore, Candidate, EntryKey, Lease, StoredResponse
from proxy.wire.answer import Shared
from proxy.wire.complete import completes
from proxy.wire.done import with_done
from proxy.wire.encoding import decode
from proxy.wire.identity import NAMESPACE, Identity, credentials
from proxy.wire.sse import is_event_stream

LARGEST = 64 * 1024 * 1024
"""Bytes. A longer answer is relayed and not kept."""

_SHORTEST_KEY = 24
"""Bytes of a header that carries a real key."""

logger = logging.getLogger("evalside")

_LAST_LOOK = 5.0
"""Seconds that the answers of the last moments have to be confirmed at shutdown."""

BACKLOG = 256 * 1024 * 1024
"""Bytes of answers that may wait to be confirmed. What comes on top is not kept."""

_NOT_KEPT = HOP_BY_HOP | {
    b"age",
    b"cf-ray",
    b"openai-processing-ms",
    b"content-encoding",
    b"content-length",
    b"date",
    b"set-cookie",
}


class Completed:
    """A tap that hands on an answer if it is complete and may be kept, and else nothing."""

    def __init__(
        self,
        exchange: Exchange,
        response: Response,
        place: Place,
        identity: Identity,
        *,
        redactor: Redactor,
        then: Callable[[StoredResponse], None],
    ) -> None:
        self._exchange = exchange
        self._response = response
        self._place = place
        self._identity = identity
        self._redactor = redactor
        self._then = then
        self._collector = Collector(LARGEST)
        self.feed = self._collector.feed

    def done(self, outcome: Outcome) -> None:
        """Look at the whole."""
        if outcome is not Outcome.COMPLETE or self._collector.cut:
            return
        headers = self._response.headers
        body = decode(self._collector.body, get_header(headers, b"content-encoding"))
        streamed = is_event_stream(headers)
        document = self._exchange.request.body.json
        if body is None or streamed != (document.get("stream") is True):
            return
        whole = with_done(body) if streamed and self._exchange.get(NoDone) is not None else body
        shared = self._exchange.get(Shared) or Shared()
        if not completes(self._place.route, document, shared.answer(whole, streamed=streamed)):
            return
        kept = [item for item in headers if not _is_of_the_moment(item[0])]
        if self._holds_secret(body, kept):
            return  # what is served has to be what the server said, so it cannot be kept without its secret
        upstream = self._exchange.get(UpstreamFacts)
        self._then(
            StoredResponse(
                200,
                kept,
                body,
                self._place.route,
                self._place.request,
                upstream.ms if upstream is not None else 0.0,
                created_at=time.time(),
                run=self._exchange.run or DEFAULT_RUN,
                source=self._place.source(self._identity.name),
                prompt=self._place.prompt(),
            )
        )

    def _holds_secret(self, body: bytes, headers: Headers) -> bool:
        """Return whether the answer, or what is stored of its request, holds a key of its own or of this process."""
        request = self._exchange.request
        told = secret_fields(self._exchange.received_headers) + _keys_in(request.body.json)
        if request.query:
            told += parse_qsl(request.query)
        # Clients without a key send a word ("unused", "not-needed"), which an answer may well contain.
        keys = [item for item in told if len(item[1]) >= _SHORTEST_KEY]
        if not keys and not self._redactor.knows_secrets:
            return False
        parts = (body, self._place.request, *(value for _, value in headers))
        return any(self._redactor.raw(part, keys) != part for part in parts)


def _keys_in(document: Mapping[str, Any]) -> list[tuple[bytes, bytes]]:
    """Return the keys that a request names as such in its body, as some gateways take them (`api_key`)."""
    return [
        (name.encode(), value.encode())
        for name, value in document.items()
        if type(value) is str and is_secret_option(name)
    ]


@lru_cache(maxsize=1024)  # the same few names come with every answer
def _is_of_the_moment(name: bytes) -> bool:
    """Return whether a header field tells of one request and would be untrue of the next."""
    name = name.lower()
    return name in _NOT_KEPT or name.startswith(b"x-ratelimit-") or name.endswith((b"request-id", b"requestid"))


class Witness(NamedTuple):
    """Who is asked again whether the model server is still the same."""

    identity: Identity
    headers: Headers
    model: str | None

    @property
    def asker(self) -> Asker:
        """What stands for them where nothing secret may stand."""
        told = [name + b":" + value for name, value in credentials(self.headers)]
        return Asker(self.model, hashlib.sha256(b"\n".join(told)).hexdigest()[:16] if told else "")


@dataclass(slots=True, eq=False)
class _Waiting:
    """An answer that waits for its confirmation."""

    held: Candidate
    witness: Witness
    decided: asyncio.Event | None = None
    """Where somebody waits for it."""

    @property
    def kept(self) -> bool:
        """Whether it was confirmed."""
        return bool(self.held.kept)


class Keeper:
    """Puts answers into the store.

    One whose model server changed meanwhile is dropped, and so is one that finds too many waiting; both are counted.
    What waits is on the disk too, so that whoever comes after a kill can decide on it.
    """

    def __init__(self, store: CacheStore, identities: Identities) -> None:
        self._store = store
        self._identities = identities
        self._waiting: dict[EntryKey, _Waiting] = {}
        self._replacing: dict[tuple[bytes, str, int | None], _Waiting] = {}  # by place, whatever the shape
        self._queue: list[_Waiting] = []
        self._bytes = 0  # in the queue
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def keep(
        self,
        at: EntryKey,
        response: StoredResponse,
        witness: Witness,
        *,
        lease: Lease | None = None,
        used: bool = True,
        replace: bool = False,
    ) -> None:
        """Keep an answer, at once or when it is confirmed; with a lease, the sample is settled in the same step."""
        if witness.identity.server == NAMESPACE:
            self._put(Candidate(at, response, lease=lease, used=used, replaces=replace))
            return
        held = Candidate(at, response, witness.asker, lease, used, replace)
        if self._bytes + held.size > BACKLOG:
            self._store.lost("answers_crowded_out")
            if lease is not None:
                self._store.settle(lease, used=False)  # its place is the next one's, so that a replay has no gap
            return
        item = _Waiting(held, witness)
        self._store.hold(held)
        self._bytes += held.size
        if at.sample is not None:
            self._waiting.setdefault(at, item)
        if replace:
            self._replacing[at[:3]] = item
        self._queue.append(item)
        self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._confirm_for_ever())

    async def adopt(self, witness: Witness) -> None:
        """Decide on what a process that is gone had not decided on, for who would be answered now.

        Raises:
            StoreError: the store cannot be written.
        """
        if witness.identity.server == NAMESPACE or witness.asker not in self._store.left:
            return
        self._identities.hurry()  # a client waits for it
        if await self._identities.confirmed(witness.identity, witness.headers, witness.model):
            await self._store.adopt(witness.asker, witness.identity.name, self._identities.knows)

    async def replaced(self, at: EntryKey) -> None:
        """Wait while it is not decided whether what is stored there is replaced."""
        item = self._replacing.get(at[:3])
        if item is not None:
            await self._decided(item)

    async def pending(self, at: EntryKey) -> StoredResponse | None:
        """Return an answer that is about to be kept, None where none is, or it was not confirmed."""
        item = self._waiting.get(at)
        if item is None:
            return None
        await self._decided(item)
        return item.held.response if item.kept else None

    async def _decided(self, item: _Waiting) -> None:
        self._identities.hurry()  # a client waits for it
        if item.decided is None:
            item.decided = asyncio.Event()
        await item.decided.wait()

    async def aclose(self) -> None:
        """Confirm what still waits, unless the model server does not answer any more."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            async with asyncio.timeout(_LAST_LOOK):
                await self._confirm_all()
        except TimeoutError:
            for item in self._queue:
                self._forget(item)  # it is on the disk, for who comes after this
            self._queue.clear()

    async def _confirm_for_ever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            await self._confirm_all()

    async def _confirm_all(self) -> None:
        while self._queue:
            first = self._queue[0].witness
            told = credentials(first.headers)
            batch = [item for item in self._queue if _same(item.witness, first, told)]
            kept = await self._identities.confirmed(first.identity, first.headers, first.model)
            taken = set(map(id, batch))
            self._queue = [item for item in self._queue if id(item) not in taken]
            for item in batch:
                self._decide(item, kept=kept)
            if not kept:
                logger.warning("%d answers are not stored: another model server may have given them", len(batch))

    def _decide(self, item: _Waiting, *, kept: bool) -> None:
        self._store.decide(item.held, kept=kept)
        if kept:
            self._count(item.held)
        else:
            self._store.lost("answers_unconfirmed")
        self._forget(item)

    def _forget(self, item: _Waiting) -> None:
        at = item.held.at
        self._bytes -= item.held.size
        if self._waiting.get(at) is item:
            del self._waiting[at]
        if self._replacing.get(at[:3]) is item:
            del self._replacing[at[:3]]
        if item.decided is not None:
            item.decided.set()

    def _put(self, it: Candidate) -> None:
        if it.lease is None:
            self._store.put(it.at, it.response, replace=it.replaces)
        else:
            self._store.settle(it.lease, used=it.used, answer=(it.at, it.response), replace=it.replaces)
        self._count(it)

    def _count(self, it: Candidate) -> None:
        if it.at.sample is not None:
            self._store.count(it.response.run, it.at, served=False)


def _same(one: Witness, other: Witness, told: Headers) -> bool:
    """Return whether one look confirms both: behind a gateway another key may lead to another server.

    `told` are the credentials of the other.
    """
    alike = one.model == other.model and one.identity.name == other.identity.name
    return alike and credentials(one.headers) == told
