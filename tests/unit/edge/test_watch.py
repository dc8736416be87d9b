import asyncio

import pytest

from proxy.edge.watch import ClientWatch


class Client:
    def __init__(self) -> None:
        self.messages: asyncio.Queue = asyncio.Queue()

    async def receive(self):
        return await self.messages.get()

    def leave(self) -> None:
        self.messages.put_nowait({"type": "http.request"})
        self.messages.put_nowait({"type": "http.disconnect"})


async def test_leaving_cancels_what_runs_and_nothing_after_it():
    client = Client()
    with ClientWatch(client.receive):
        client.leave()
        await asyncio.Event().wait()
    await asyncio.sleep(0)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_who_leaves_after_the_watch_has_stopped_cancels_nothing():
    client, served = Client(), False
    with ClientWatch(client.receive) as watch:
        await asyncio.sleep(0)
        watch.stop()
        client.leave()
        for _ in range(5):
            await asyncio.sleep(0)  # a watch that goes on would cancel here
        served = True
    assert served
    assert client.messages.qsize() == 2  # nobody asked for them any more


async def test_a_client_that_stays_is_served_to_the_end():
    client, served = Client(), False
    client.messages.put_nowait({"type": "http.request"})
    with ClientWatch(client.receive):
        for _ in range(5):
            await asyncio.sleep(0)
        served = True
    assert served
    assert client.messages.qsize() == 0  # it was watched


async def test_another_ones_cancellation_stands():
    client, entered = Client(), asyncio.Event()

    async def serve():
        with ClientWatch(client.receive):
            entered.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_an_error_while_being_cancelled_is_raised_and_the_cancellation_taken_back():
    client = Client()

    async def serve():
        with ClientWatch(client.receive):
            client.leave()
            try:
                await asyncio.Event().wait()
            finally:
                raise ValueError("clean-up")

    with pytest.raises(ValueError, match="clean-up"):
        await serve()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
