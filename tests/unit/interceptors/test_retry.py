from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from proxy.core.errors import UpstreamIncomplete, UpstreamUnreachable
from proxy.core.http import Exchange, Payload, Request, Response
from proxy.interceptors.retry import Retry, RetryConfig
from proxy.store.memory import MemoryStore
from proxy.testing import Fault, ModelServer, Reply
from tests.contract.sidecar import chat, sidecar
from tests.unit.interceptors import alone


@pytest.fixture
def waits(monkeypatch) -> list[float]:
    """The seconds that were waited, without the waiting."""
    found: list[float] = []

    async def sleep(seconds: float) -> None:
        found.append(seconds)

    monkeypatch.setattr("proxy.interceptors.retry.asyncio.sleep", sleep)
    return found


class Server:
    """Answers with statuses, or raises, in this order; then 200."""

    def __init__(self, *answers, headers=()):
        self.answers = list(answers)
        self.headers = list(headers)
        self.asked = 0

    async def __call__(self, exchange):
        self.asked += 1
        answer = self.answers.pop(0) if self.answers else 200
        if isinstance(answer, Exception):
            raise answer
        return Response(answer, self.headers, Payload(b"{}"))


async def ask(server, **options):
    store = MemoryStore()
    exchange = Exchange(Request("POST", b"/", b"", [], Payload(b"{}")), route="chat")
    response = await Retry(RetryConfig(**options), alone.services(store))(exchange, server)
    return response.status, store.observed(None, "retries")


async def test_busy_and_unreachable_servers_are_asked_again(waits):
    server = Server(503, UpstreamUnreachable("no"), UpstreamIncomplete("cut"), 200)
    assert await ask(server) == (200, 3)
    assert [0.25 <= waits[0] <= 0.5, 0.5 <= waits[1] <= 1.0, 1.0 <= waits[2] <= 2.0] == [True] * 3


async def test_the_last_answer_is_the_clients(waits):
    assert await ask(Server(*[429] * 9), max_retries=2) == (429, 2)
    with pytest.raises(UpstreamUnreachable):
        await ask(Server(*[UpstreamUnreachable("no")] * 9), max_retries=1)
    assert len(waits) == 3


@pytest.mark.parametrize("status", [200, 400, 404, 500])
async def test_other_answers_are_not_asked_again(waits, status):
    server = Server(status)
    assert await ask(server) == (status, 0)
    assert server.asked == 1


async def test_statuses_are_the_users_choice(waits):
    assert await ask(Server(500), retry_on_status={500}) == (200, 1)
    assert await ask(Server(503), retry_on_status=set()) == (503, 0)


@pytest.mark.parametrize(
    ("value", "low", "high"),
    [
        (b"7", 7, 7.25),
        (b"7.5", 7.5, 7.75),
        (b"100000", 60, 60),
        (b"-3", 0, 0.25),
        (b"soon", 0.25, 0.5),
        (b"", 0.25, 0.5),
        (timedelta(seconds=30), 20, 31),
        (timedelta(days=-1), 0, 0.25),
        (b"Mon, 99 Foo 2020 00:00:00 GMT", 0.25, 0.5),
    ],
)
async def test_retry_after_is_heeded_in_both_forms_and_capped(waits, value, low, high):
    if isinstance(value, timedelta):
        value = format_datetime(datetime.now(UTC) + value, usegmt=True).encode()
    assert await ask(Server(503, headers=[(b"retry-after", value)])) == (200, 1)
    assert low <= waits[0] <= high


async def test_through_the_sidecar_nothing_of_a_failed_attempt_is_kept(tmp_path):
    with ModelServer() as server:
        interceptors = ["caching", {"name": "retry", "config": {"max_wait": 0.01}}]
        async with sidecar(tmp_path, server, interceptors) as proxy:
            server.enqueue(Reply(status=503, json={}), Reply(body=b"{" * 100, fault=Fault.CLOSE_IN_BODY))
            first, second = await proxy.ask(chat()), await proxy.ask(chat())
            assert (first.status, first.cache, second.cache, proxy.calls) == (200, "miss", "hit", 3)
