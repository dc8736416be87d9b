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


async def test_nothing_happens_to_a_client_that_stays():
    client = Client()
    with ClientWatch(client.receive) as watch:
        await asyncio.sleep(0)
        watch.stop()
        client.leave()
        await asyncio.sleep(0)


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
