"""What an exchange leaves behind is freed at once: bodies do not wait for the garbage collector."""

import gc

import pytest

from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar

PARTS = ("proxy.cache", "proxy.core", "proxy.edge", "proxy.interceptors", "proxy.store", "proxy.upstream", "proxy.wire")


@pytest.mark.parametrize("run", [{}, {"x_evalside_run": "r"}])
@pytest.mark.parametrize("temperature", [0, 1])
@pytest.mark.parametrize("stream", [False, True])
async def test_no_exchange_leaves_garbage(tmp_path, stream, temperature, run):
    with ModelServer() as server:
        async with sidecar(tmp_path, server) as proxy:
            asked = [chat(temperature=temperature, seed=number, stream=stream) for number in range(3)]
            for body in asked:  # what is made once is not looked at
                await proxy.ask(body, **run)
            gc.collect()
            gc.set_debug(gc.DEBUG_SAVEALL)
            try:
                for body in (*asked, {**asked[0], "seed": 7}, {**asked[0], "seed": 8}):  # hits and misses
                    assert (await proxy.ask(body, **run)).status == 200
                gc.collect()
                left = {type(it).__qualname__ for it in gc.garbage if type(it).__module__.startswith(PARTS)}
            finally:
                gc.set_debug(0)
                gc.garbage.clear()
    assert left <= {"Connection"}  # to the model server, once for each that was closed
