import pytest

from proxy.testing import Fault, ModelServer, Reply
from tests.contract.sidecar import chat, sidecar
from tests.waiting import until


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
def listener():
    with ModelServer() as running:
        running.on("/progress", Reply(json={}))
        yield running


def tracking(listener, **options):
    url = {} if listener is None else {"progress_tracking_url": f"{listener.url}/progress"}
    return ["caching", {"name": "progress_tracking", "config": {**url, **options}}]


def told(listener):
    return [(request.method, request.json["samples_processed"]) for request in listener.requests]


async def test_live_answers_are_told_and_nothing_else_counts(tmp_path, server, listener):
    async with sidecar(tmp_path, server, tracking(listener)) as proxy:
        await proxy.ask(chat(seed=1))
        await until(lambda: told(listener) == [("PATCH", 1)])
        await proxy.ask(chat(seed=1))
        server.enqueue(Reply(status=500, json={}))
        await proxy.ask(chat(seed=2))
        await proxy.ask(chat(seed=3))
        await until(lambda: told(listener) == [("PATCH", 1), ("PATCH", 2)])
    assert list(dict.fromkeys(told(listener))) == [
        ("PATCH", 1),
        ("PATCH", 2),
    ]  # the last may be cut off, and sent again


async def test_the_last_number_is_told_at_shutdown(tmp_path, server, listener):
    async with sidecar(
        tmp_path, server, tracking(listener, progress_tracking_interval=100, request_method="POST")
    ) as proxy:
        for seed in range(3):
            await proxy.ask(chat(seed=seed))
        assert told(listener) == []
    assert told(listener) == [("POST", 3)]


async def test_a_restart_goes_on_where_it_was(tmp_path, server, listener):
    for seed in range(2):
        async with sidecar(tmp_path, server, tracking(listener, progress_tracking_interval=100)) as proxy:
            await proxy.ask(chat(seed=seed), x_evalside_run="r")
    assert told(listener) == [("PATCH", 1), ("PATCH", 2)]


async def test_the_clock_tells_too(tmp_path, server, listener):
    options = {"progress_tracking_interval": 100, "progress_tracking_interval_seconds": 0.02}
    async with sidecar(tmp_path, server, tracking(listener, **options)) as proxy:
        await proxy.ask(chat())
        await until(lambda: told(listener) == [("PATCH", 1)])
    assert set(told(listener)) == {("PATCH", 1)}  # it may be cut off, and sent again


async def test_a_file_holds_the_number(tmp_path, server):
    async with sidecar(tmp_path, server, tracking(None, output_dir=str(tmp_path / "out"))) as proxy:
        await proxy.ask(chat())
    assert (tmp_path / "out" / "progress").read_text() == "1"


async def test_a_message_that_shutdown_cuts_off_is_sent_again(tmp_path, server, listener):
    listener.enqueue(Reply(fault=Fault.STALL_BEFORE_HEADERS))
    async with sidecar(tmp_path, server, tracking(listener)) as proxy:
        await proxy.ask(chat())
        await listener.requests_arrived(1)
    assert told(listener) == [("PATCH", 1), ("PATCH", 1)]


async def test_who_does_not_listen_holds_nobody_up(tmp_path, server, listener, capfd):
    listener.on("/progress", Reply(fault=Fault.CLOSE_BEFORE_ANSWER))
    async with sidecar(tmp_path, server, tracking(listener)) as proxy:
        assert (await proxy.ask(chat())).status == 200
    assert "could not be told" in capfd.readouterr().out


async def test_without_anybody_to_tell_it_does_not_start(tmp_path, server):
    with pytest.raises(Exception, match="tells nobody"):
        async with sidecar(tmp_path, server, tracking(None)):
            pass


async def test_a_webhook_gets_the_second_generations_form(tmp_path, server, listener):
    config = {"webhook_url": f"{listener.url}/progress", "every": 2}
    async with sidecar(tmp_path, server, [{"name": "progress_tracking", "config": config}]) as proxy:
        await proxy.ask(chat(seed=1))
        assert listener.requests == []
        await proxy.ask(chat(seed=2))
        await until(
            lambda: [(request.method, request.json) for request in listener.requests] == [("POST", {"completed": 2})]
        )
