import asyncio

import pytest

from proxy.testing import ASGIExchange, LifespanFailed, asgi, lifespan

START = {"type": "http.response.start", "status": 200, "headers": [(b"x-a", b"1"), (b"x-a", b"2")]}


def part(body, more=True):
    return {"type": "http.response.body", "body": body, "more_body": more}


async def streaming(scope, receive, send):
    await send(START)
    for index in range(5):
        await send(part(b"%d" % index, index < 4))


async def echo(scope, receive, send):
    await send(START)
    more = True
    while more:
        message = await receive()
        more = message.get("more_body", False)
        await send(part(message.get("body", b""), more))


async def waiting(scope, receive, send):
    await send(START)
    await send(part(b"first"))
    while (await receive())["type"] != "http.disconnect":
        pass
    await send(part(b"dropped"))
    scope["state"]["saw"] = "disconnect"


async def test_head_and_parts_come_as_they_are_sent():
    async with ASGIExchange(streaming) as exchange:
        start = await exchange.start()
        assert (start.status, start.header("X-A"), start.header_values("x-a")) == (200, "1", ["1", "2"])
        assert [chunk async for chunk in exchange.chunks()] == [b"0", b"1", b"2", b"3", b"4"]
        assert exchange.complete
        assert await exchange.read() == b""


async def test_the_scope_is_what_a_server_would_build():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)
        await streaming(scope, receive, send)

    headers = [(b"X-B", b"1"), (b"x-b", b"2")]
    async with ASGIExchange(app, "POST", "/a%20b?q=%20", headers, scope={"client": ("10.0.0.1", 1)}) as exchange:
        await exchange.read()
    assert (seen["path"], seen["raw_path"], seen["query_string"]) == ("/a b", b"/a%20b", b"q=%20")
    assert seen["headers"] == [(b"x-b", b"1"), (b"x-b", b"2")]
    assert (seen["method"], seen["client"], seen["type"]) == ("POST", ("10.0.0.1", 1), "http")


async def test_a_held_application_does_not_run_ahead():
    async with ASGIExchange(streaming) as exchange:
        exchange.hold()
        await exchange.start()
        for _ in range(10):
            await asyncio.sleep(0)
        assert exchange.sent == 1
        assert not exchange.finished
        exchange.release()
        assert await exchange.read() == b"01234"
        assert exchange.sent == 5
        await exchange.wait_finished()
        assert exchange.finished


async def test_body_chunks_are_messages_of_their_own():
    async with ASGIExchange(echo, "POST", "/", body_chunks=[b"a", b"b"]) as exchange:
        assert [chunk async for chunk in exchange.chunks()] == [b"a", b"b"]
    async with ASGIExchange(echo) as exchange:
        assert await exchange.read() == b""


async def test_an_upload_may_be_fed_while_the_application_answers():
    fed: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def upload():
        while (chunk := await fed.get()) is not None:
            yield chunk

    async with ASGIExchange(echo, "POST", "/", body_chunks=upload()) as exchange:
        chunks = exchange.chunks()
        for data in (b"one", b"two"):
            fed.put_nowait(data)
            assert await anext(chunks) == data
        fed.put_nowait(None)
        assert await exchange.read() == b""


async def test_a_client_that_leaves_is_told_to_the_application():
    state: dict[str, str] = {}
    async with ASGIExchange(waiting, scope={"state": state}) as exchange:
        assert await anext(exchange.chunks()) == b"first"
        exchange.disconnect()
        await exchange.wait_finished()
        assert state == {"saw": "disconnect"}
        assert await exchange.read() == b""
        assert exchange.sent == 2


async def test_leaving_in_the_middle_of_an_upload_ends_it():
    async def app(scope, receive, send):
        assert (await receive())["body"] == b"a"
        scope["state"]["next"] = (await receive())["type"]

    async def upload():
        yield b"a"
        await asyncio.Event().wait()

    state: dict[str, str] = {}
    async with ASGIExchange(app, "POST", "/", body_chunks=upload(), scope={"state": state}):
        for _ in range(10):
            await asyncio.sleep(0)
    assert state == {"next": "http.disconnect"}


async def test_leaving_the_block_frees_a_held_application():
    async with ASGIExchange(streaming) as exchange:
        exchange.hold()
        await exchange.start()
    assert exchange.finished


async def test_what_the_application_raises_comes_out():
    async def early(scope, receive, send):
        raise LookupError("before the head")

    async def late(scope, receive, send):
        await send(START)
        await send(part(b"x"))
        raise LookupError("in the body")

    with pytest.raises(LookupError, match="before the head"):
        async with ASGIExchange(early) as exchange:
            await exchange.start()
    with pytest.raises(LookupError, match="before the head"):
        async with ASGIExchange(early):
            pass
    with pytest.raises(LookupError, match="in the body"):
        async with ASGIExchange(late) as exchange:
            assert await exchange.read() == b"x"


async def test_a_failing_test_is_not_hidden_by_the_application():
    async def app(scope, receive, send):
        raise LookupError("application")

    async def fail():
        async with ASGIExchange(app) as exchange:
            await exchange.wait_finished()
            raise KeyError("test")

    with pytest.raises(KeyError, match="test"):
        await fail()


@pytest.mark.parametrize(
    ("messages", "message"),
    [
        ([], "without sending http.response.start"),
        ([part(b"x")], "before http.response.start"),
        ([START, START], "twice"),
        ([START, part(b"", False), part(b"")], "after the last one"),
        ([{**START, "headers": [(b"X-Upper", b"1")]}], "lower case"),
        ([{"type": "websocket.accept"}], "websocket.accept"),
    ],
)
async def test_broken_applications_are_found_out(messages, message):
    async def app(scope, receive, send):
        for item in messages:
            await send(item)

    with pytest.raises(RuntimeError, match=message):
        async with ASGIExchange(app) as exchange:
            await exchange.wait_finished()


async def test_an_application_that_ignores_the_disconnect_is_found_out(monkeypatch):
    async def app(scope, receive, send):
        await send(START)
        await asyncio.Event().wait()

    monkeypatch.setattr(asgi, "EXIT_TIMEOUT", 0.01)
    with pytest.raises(AssertionError, match="still ran"):
        async with ASGIExchange(app) as exchange:
            await exchange.start()


def lifespan_app(*answers, error=None, seen=None):
    async def app(scope, receive, send):
        scope["state"]["pool"] = "open"
        for answer in answers:
            message = await receive()
            if seen is not None:
                seen.append(message["type"])
            await send(answer)
        if error:
            raise error

    return app


UP, DOWN = {"type": "lifespan.startup.complete"}, {"type": "lifespan.shutdown.complete"}


async def test_lifespan_starts_yields_state_and_shuts_down():
    seen: list[str] = []
    async with lifespan(lifespan_app(UP, DOWN, seen=seen)) as state:
        assert state == {"pool": "open"}
        assert seen == ["lifespan.startup"]
    assert seen == ["lifespan.startup", "lifespan.shutdown"]


async def test_lifespan_raises_what_the_application_reports():
    with pytest.raises(LifespanFailed, match="no such file"):
        async with lifespan(lifespan_app({"type": "lifespan.startup.failed", "message": "no such file"})):
            pytest.fail("the application did not start")
    with pytest.raises(LifespanFailed, match="stuck"):
        async with lifespan(lifespan_app(UP, {"type": "lifespan.shutdown.failed", "message": "stuck"})):
            pass


async def test_lifespan_raises_what_the_application_raises():
    with pytest.raises(OSError, match="disk"):
        async with lifespan(lifespan_app(error=OSError("disk"))):
            pytest.fail("the application did not start")
    with pytest.raises(LifespanFailed, match=r"without answering lifespan\.startup"):
        async with lifespan(lifespan_app()):
            pytest.fail("the application did not start")
