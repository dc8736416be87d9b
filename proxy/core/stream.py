"""A body that is still arriving."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from enum import Enum
from typing import NamedTuple, Protocol

from proxy.core.difference import Difference
from proxy.core.errors import ChangeRefused, InterceptorFailed, ProxyError

CONFIGURED = "configured"
"""Why something was changed, where an interceptor gives no other reason: it was told to."""


class Outcome(Enum):
    """How an answer ended."""

    COMPLETE = "complete"
    UPSTREAM_FAILED = "upstream_failed"
    CLIENT_GONE = "client_gone"


class Tap(Protocol):
    """Observes a body. Synchronous on purpose: it cannot slow or reorder a stream."""

    def feed(self, chunk: bytes, /) -> None:
        """See a chunk, exactly as it passes this point."""

    def done(self, outcome: Outcome, /) -> None:
        """See the end, exactly once."""


class StreamChange(NamedTuple):
    """What a transform did to the events of a stream."""

    what: Difference
    """In the first event that it happened to."""
    why: str = CONFIGURED
    times: int = 1
    """Events that it happened to."""


class StreamTransform(Protocol):
    """Changes a body chunk by chunk. What it holds back it gives at the end.

    One that says itself what it changed has the attribute `changes`, a sequence of `StreamChange`; of any other the
    ledger gets the hash of what went in and of what came out.
    """

    def feed(self, chunk: bytes, /) -> bytes:
        """Return what goes on in place of `chunk`; empty bytes hold everything back."""

    def end(self) -> bytes:
        """Return what was held back, once the body is complete."""


class GuardedTap:
    """A tap whose failures are collected instead of costing the client its answer."""

    __slots__ = ("_errors", "_tap")

    def __init__(self, tap: Tap, errors: list[Exception]) -> None:
        self._tap: Tap | None = tap
        self._errors = errors

    def feed(self, chunk: bytes) -> bytes:
        """Show `chunk` to the tap and pass it on; a tap that raises is dropped."""
        if self._tap is not None:
            try:
                self._tap.feed(chunk)
            except Exception as error:  # noqa: BLE001 - observers fail open
                self._tap = None
                self._errors.append(error)
        return chunk

    def end(self) -> bytes:
        """Return nothing: a tap holds nothing back."""
        return b""

    def done(self, outcome: Outcome) -> None:
        """Tell the tap how the body ended."""
        tap, self._tap = self._tap, None
        if tap is not None:
            try:
                tap.done(outcome)
            except Exception as error:  # noqa: BLE001 - observers fail open
                self._errors.append(error)


class Mapped:
    """A transform on a stream: its failures name the interceptor it belongs to, and so do its changes."""

    __slots__ = ("_after", "_before", "_transform", "name", "strict")

    def __init__(self, transform: StreamTransform, name: str) -> None:
        self.name = name
        self.strict = False
        self._transform = transform
        self._before, self._after = hashlib.sha256(), hashlib.sha256()

    @property
    def changes(self) -> Sequence[StreamChange]:
        """What it changed so far; by hash only at the end, as it may still hold something back."""
        own: Sequence[StreamChange] | None = getattr(self._transform, "changes", None)
        if own is not None:
            return own
        before, after = (f"sha256:{digest.hexdigest()}" for digest in (self._before, self._after))
        return [StreamChange(Difference((), before, after))] if before != after else []

    def feed(self, chunk: bytes) -> bytes:
        return self._guarded(lambda: self._transform.feed(chunk), chunk)

    def end(self) -> bytes:
        return self._guarded(self._transform.end)

    def done(self, outcome: Outcome) -> None:
        """A transform learns of a good end through `end`; a bad one it need not know."""

    def _guarded(self, step: Callable[[], bytes], chunk: bytes | None = None) -> bytes:
        try:
            changed = step()
        except ProxyError:
            raise
        except Exception as error:
            raise InterceptorFailed(f"interceptor '{self.name}' failed on a stream: {error!r}") from error
        self._account(chunk, changed)
        return changed

    def _account(self, chunk: bytes | None, changed: bytes) -> None:
        tells = hasattr(self._transform, "changes")
        if not tells:
            self._before.update(chunk or b"")
            self._after.update(changed)
        if self.strict and (tells or chunk is None) and self.changes:
            raise ChangeRefused.of(self.name, "answer", [change.what.field or "(body)" for change in self.changes])


class ByteStream:
    """An async iterator of byte chunks with taps and transforms on it, in the order they were attached.

    `origin` is the complete body that it gives in chunks, if there is one.

    Exactly one of three things ends it: the source is exhausted (COMPLETE), the source or a transform raises
    (UPSTREAM_FAILED), or `aclose` comes first (CLIENT_GONE). Every tap then sees `done` once.
    """

    __slots__ = ("_close", "_source", "_stages", "error", "origin", "outcome", "tap_errors")

    def __init__(
        self,
        source: AsyncIterator[bytes],
        close: Callable[[], Awaitable[None]] | None = None,
        *,
        origin: object = None,
    ) -> None:
        self.origin = origin
        self._source = source
        self._close = close
        self._stages: list[GuardedTap | Mapped] = []
        self.outcome: Outcome | None = None
        self.error: Exception | None = None
        self.tap_errors: list[Exception] = []

    def tap(self, tap: Tap) -> None:
        """Let `tap` observe what passes from here on; one that raises is dropped and kept in `tap_errors`."""
        self._stages.append(GuardedTap(tap, self.tap_errors))

    def map(self, transform: StreamTransform, *, name: str) -> None:
        """Change what passes from here on; `name` is the interceptor's, for its error."""
        self._stages.append(Mapped(transform, name))

    @property
    def maps(self) -> list[Mapped]:
        """The transforms on it."""
        return [stage for stage in self._stages if isinstance(stage, Mapped)]

    def forbid_changes(self, name: str) -> None:
        """Have the stream fail where the transforms of this interceptor change anything."""
        for mapped in self.maps:
            mapped.strict = mapped.strict or mapped.name == name

    def __aiter__(self) -> ByteStream:
        return self

    async def __anext__(self) -> bytes:
        while self.outcome is None:
            try:
                chunk = self._pass(await anext(self._source), 0)
            except StopAsyncIteration:
                chunk = self._finish()
            except Exception as error:
                self._fail(error)
                raise
            if chunk:
                return chunk
        if self.error is not None:
            raise self.error
        if self.outcome is Outcome.CLIENT_GONE:
            raise RuntimeError("the stream was closed before its end: what is left of it cannot be read")
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Release the source. Before the end this cancels the upstream call. Idempotent."""
        self._settle(Outcome.CLIENT_GONE)
        close, self._close = self._close, None
        if close is not None:
            await close()

    def _pass(self, chunk: bytes, first: int) -> bytes:
        for stage in self._stages[first:] if first else self._stages:
            chunk = stage.feed(chunk)
            if not chunk:
                break
        return chunk

    def _finish(self) -> bytes:
        """Return what the transforms still held, each through the stages behind it."""
        tail = b""
        try:
            for index, stage in enumerate(self._stages):
                held = stage.end()
                if held:
                    tail += self._pass(held, index + 1)
        except ProxyError as error:
            self._fail(error)
            raise
        self._settle(Outcome.COMPLETE)
        return tail

    def _fail(self, error: Exception) -> None:
        self.error = error
        self._settle(Outcome.UPSTREAM_FAILED)

    def _settle(self, outcome: Outcome) -> None:
        if self.outcome is None:
            self.outcome = outcome
            del self._source  # it is read no more, and who gives it may hold this stream: nothing would free either
            for stage in self._stages:
                stage.done(outcome)
