"""What the pipeline asks of a store. Implementations pass the contract suites of `proxy.testing`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import NamedTuple, Protocol

from proxy.core.http import Headers

DEFAULT_RUN = "default"
"""What requests that name no run are kept under."""

ABORTED = "aborted"
"""The kind of memory that says why a pass of a run was given up; its key is the pass."""

LOSSY_SHAPES = "lossy_shapes"
"""The quantity that counts requests whose answer is stored, in a shape that cannot be turned into theirs."""

POOLED = ""
"""The pool of deterministic answers, shared by every run."""


class StoreError(Exception):
    """A store that cannot be used as it is. The message names the file and the way out."""


class EntryKey(NamedTuple):
    """Where an answer is kept."""

    key: bytes
    """SHA-256 of the request, 32 bytes."""
    pool: str
    """`POOLED`, the default run, or one sequence of a run (`sample_pool`)."""
    sample: int | None
    """Index of the sample in its pool from 0; None takes the next free one (`put` only)."""
    shape: str
    """`plain`, or how the answer was streamed."""


def sample_pool(run: str, received: str) -> str:
    """Return the pool of a run's samples for one body as it was received (its hash, in hexadecimal)."""
    return f"{run}/{received}"


@dataclass(slots=True)
class KeySource:
    """What a key was taken from beside the body: enough to take it again, and to say what differs."""

    identity: str
    """Of the model server."""
    method: str
    path: str
    query: str
    headers: list[tuple[str, str]]
    """Those in the key, sorted by name."""


@dataclass(slots=True)
class StoredResponse:
    """A complete answer of the model server. Never changed: a frozen one would take five times as long to make."""

    status: int
    headers: Headers
    body: bytes
    """Content encoding removed."""
    route: str
    request: bytes
    """The canonical form of the request's body that the key was taken from."""
    upstream_ms: float
    created_at: float
    """Seconds since the epoch."""
    run: str = DEFAULT_RUN
    """Which run asked for it first."""
    source: KeySource = field(default_factory=lambda: KeySource("", "POST", "", "", []))
    prompt: bytes = b""
    """Eight bytes of a hash of what was asked, without how: entries that share them are neighbors."""


class Asker(NamedTuple):
    """Who may see again the model server that gave an answer."""

    model: str | None
    """That was asked for."""
    client: str
    """Hash of the credentials, empty where there are none; no key is kept."""


NOBODY = Asker(None, "")


@dataclass(slots=True)
class ExchangeRecord:
    """One row of the exchange log."""

    id: str
    run: str | None
    started_at: float
    """Seconds since the epoch."""
    method: str
    path: str
    route: str | None
    status: int | None = None
    cache: str | None = None
    cache_key: str | None = None
    sample: int | None = None
    reason: str | None = None
    """Why the cache did not answer, or why the model server was not asked."""
    outcome: str | None = None
    error: str | None = None
    """The `code` of our own error, None where the model server answered."""
    duration_ms: float | None = None
    upstream_ms: float | None = None
    request_headers: Headers | None = None
    """Secrets redacted."""
    request_body: bytes | None = None
    """What the client sent."""
    sent_body: bytes | None = None
    """What was sent on, where that differs."""
    response_headers: Headers | None = None
    response_body: bytes | None = None
    """What the client got."""
    changes: bytes | None = None
    """The ledger: a JSON array of what interceptors changed, None for nothing."""


class ChangeKind(NamedTuple):
    """What entries of the ledger are counted by."""

    interceptor: str
    on: str
    """`request` or `answer`."""
    field: str
    """Without indexes: `messages[].name`."""
    what: str
    """`added`, `removed`, `changed` or `reordered`."""
    why: str


@dataclass(slots=True)
class Losses:
    """Rows that were not written, or not read, in this process."""

    log_rows_shed: int = 0
    """Log rows dropped because the writer could not keep up."""
    log_rows_lost: int = 0
    """Log rows that the database refused (a full disk, for one)."""
    cache_rows_lost: int = 0
    """Answers that the database refused: they will be asked for again."""
    cache_reads_failed: int = 0
    """Answers that are there and could not be read (a damaged page, for one): they were asked for again."""
    notes_lost: int = 0
    """Counts, and ends of leases, that the database refused for too long."""
    notes_dropped: int = 0
    """Rows of what is only counted that went because there were too many."""
    answers_unconfirmed: int = 0
    """Answers that were not kept because another model server may have given them."""
    answers_crowded_out: int = 0
    """Answers that were not kept because too many waited to be confirmed."""
    checks_dropped: int = 0
    """Hits that were to be asked for again and were not, because too many waited."""
    last_error: str | None = None


LOSSES = tuple(item.name for item in fields(Losses) if item.name != "last_error")
"""The names of the counts."""


class ResponseStore(Protocol):
    """Answers by key."""

    async def get(self, at: EntryKey, /) -> StoredResponse | None:
        """Return the answer kept there, None where there is none."""

    async def others(self, at: EntryKey, /) -> list[tuple[str, StoredResponse]]:
        """Return the same answer in other shapes than `at.shape`, each with its shape."""

    def put(self, at: EntryKey, response: StoredResponse, /, *, replace: bool = False) -> None:
        """Keep an answer; enqueues and never waits. One that is there already stays, unless it is to be replaced."""

    async def flush(self) -> None:
        """Return when everything put so far is written."""


@dataclass(frozen=True, slots=True)
class RunState:
    """A named run, as it stands in the store."""

    number: int = 0
    """Of its pass, from 0."""
    source: str | None = None
    """The run whose samples it replays before its own."""
    mode: str | None = None
    """The cache mode of the run, None for the pipeline's."""


class Sequence(NamedTuple):
    """Identical requests of a run, in the order in which they came."""

    run: str
    received: str
    """Hash of the body as it was received, in hexadecimal."""
    key: bytes


@dataclass(frozen=True, slots=True)
class Lease:
    """One sample of a sequence, held while its answer is on its way."""

    of: Sequence
    sample: int
    pools: tuple[str, ...]
    """Where its answer may be: the run's own pool, then those of the runs it was made from."""
    holder: str
    """Empty where nothing is held, because the sample is answered and was named."""
    replayed: bool = False
    """Whether its answer was there when it was leased, and is to be served."""

    @property
    def pool(self) -> str:
        """Where its answer is kept."""
        return self.pools[0]


@dataclass(slots=True, eq=False)
class Candidate:
    """An answer that becomes an entry, or does not: that may be known only after a client has it."""

    at: EntryKey
    response: StoredResponse
    """Its source names the model server."""
    asker: Asker = NOBODY
    """Who can say whether it is to be kept."""
    lease: Lease | None = None
    """Of its sample, which is held as long as nothing is decided."""
    used: bool = True
    """Whether the client had the sample."""
    replaces: bool = False
    """Whether it takes the place of what is there."""
    kept: bool | None = None
    """What was decided; None as long as nothing is."""
    name: str | None = None
    """Of its row, where it was written before that; empty where it was not."""

    @property
    def size(self) -> int:
        """Bytes, about."""
        return len(self.response.body) + len(self.response.request)


class RunStore(Protocol):
    """Runs, and the samples that they use up."""

    async def run(self, name: str, /) -> RunState:
        """Return the run's state; one that is not there yet is as new."""

    async def take_recorded(self, of: Sequence, /) -> Lease | None:
        """Lease as `take` does, but only a sample whose answer is there; None where there is no further one.

        Raises:
            StoreError: the lease could not be written.
        """

    async def take(self, of: Sequence, /, *, serves: bool = True) -> Lease:
        """Lease the lowest sample that this pass has not used.

        Atomic across workers. What a worker held that is gone is free again, but for samples that it served from the
        cache. Without `serves` an answer that is there is not served but asked for again.

        Raises:
            StoreError: the lease could not be written.
        """

    async def claim(self, of: Sequence, sample: int, /) -> Lease | None:
        """Lease a sample that the client named itself; moves no counter. None where another request holds it.

        Raises:
            StoreError: the lease could not be written.
        """

    async def mark(self, lease: Lease, /, *, replayed: bool) -> Lease:
        """Return the lease of a sample that is served from the cache, or asked for, where it was to be otherwise.

        Raises:
            StoreError: it could not be written.
        """

    def settle(
        self,
        lease: Lease,
        /,
        *,
        used: bool,
        answer: tuple[EntryKey, StoredResponse] | None = None,
        replace: bool = False,
    ) -> None:
        """End a lease, together with its answer where there is one to keep; one that was not used is free again."""

    async def identities(self, run: str, /) -> list[str]:
        """Return the model servers that answered the run, or those that it was made from, latest first."""

    def count(self, run: str, at: EntryKey, /, *, served: bool) -> None:
        """Count that the run used an answer: served from the cache, or asked for."""

    def saw(self, run: str, identity: str, server: str, facts: Mapping[str, str], /) -> None:
        """Note which model server answered the run."""

    def verified(self, run: str, key: bytes, differs: str | None, /) -> None:
        """Note that a stored answer was asked for again: None where the model server said the same."""


class Memory(Protocol):
    """What interceptors remember from one request of a run to the next, across workers and restarts."""

    def recall(self, run: str | None, kind: str, key: str, /) -> str | None:
        """Return what was remembered, None where nothing was. May be a moment late in another worker."""

    def remember(self, run: str | None, kind: str, key: str, value: str, /, *, keep: int | None = None) -> None:
        """Remember a value in place of the one before; enqueues and never waits. `keep` limits those of the kind."""

    async def amend(self, run: str | None, kind: str, key: str, change: Callable[[str | None], str], /) -> str:
        """Replace what is remembered by what `change` makes of it, in one step for all workers, and return that.

        Raises:
            StoreError: it could not be written.
        """


class CacheStore(ResponseStore, RunStore, Protocol):
    """Answers, and the runs that use them, in one place."""

    async def room(self) -> None:
        """Wait while answers queue up faster than they can be written: none of them is ever shed."""

    def lost(self, name: str, /) -> None:
        """Count one of `LOSSES` that happened before the store."""

    def hold(self, it: Candidate, /) -> None:
        """Have an answer on the disk though it is not decided yet whether it is kept: a kill does not cost it."""

    def decide(self, it: Candidate, /, *, kept: bool) -> None:
        """Keep an answer that is held, or drop it, and end its lease in the same step."""

    @property
    def left(self) -> Collection[Asker]:
        """Who can decide on answers that a process left undecided that is gone; of most stores nobody."""

    async def look(self) -> None:
        """Find out who was killed since the last look, and what it left: a pass is about to replay it."""

    async def adopt(self, asker: Asker, identity: str, knows: Callable[[str], bool], /) -> None:
        """Decide on these: keep what this model server gave, and drop what another gave that `knows` says was here.

        Raises:
            StoreError: it could not be written.
        """


class ExchangeLog(Protocol):
    """Records of exchanges."""

    def append(self, record: ExchangeRecord, /) -> None:
        """Keep a record; enqueues, and sheds it (counted) when the queue is full."""

    def count_changes(self, run: str | None, kinds: Collection[ChangeKind], /) -> None:
        """Count a request that passed the transforms, and what they changed; never shed."""

    def observe(self, run: str | None, values: Mapping[str, float], /) -> None:
        """Add a value of each quantity to the statistics of the run's pass; never shed."""

    def observed(self, run: str | None, name: str, /) -> int:
        """Return how often a quantity was observed in the run's pass, by all workers, as far as it is written."""

    async def flush(self) -> None:
        """Return when everything appended so far is written."""
