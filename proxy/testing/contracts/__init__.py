"""Contract suites: subclass one in a test module, give it what to test, and pytest runs the contract on it.

    class TestMyStore(ResponseStoreContract, RunStoreContract, ExchangeLogContract):
        @asynccontextmanager
        async def opened(self, folder):                 # a store that keeps its data in `folder`
            yield MyStore(folder)

        async def records(self, store): ...             # the ids in its log, oldest first

        async def new_pass(self, store, run, source=None, mode=None): ...

    class TestMyInterceptor(InterceptorContract):
        plugin = my_package.PLUGIN
        options = {"level": 3}                          # the smallest valid configuration
        observer = True                                 # it changes nothing, neither way
        buffers = True                                  # its purpose is to hold answers until they are whole

They need pytest with pytest-asyncio in auto mode (`asyncio_mode = "auto"`).
"""

from proxy.testing.contracts.interceptors import EVENTS, REQUEST, InterceptorContract
from proxy.testing.contracts.stores import (
    FIRST,
    KEY,
    SAMPLED,
    ExchangeLogContract,
    ResponseStoreContract,
    RunStoreContract,
    answer,
    record,
)

__all__ = [
    "EVENTS",
    "FIRST",
    "KEY",
    "REQUEST",
    "SAMPLED",
    "ExchangeLogContract",
    "InterceptorContract",
    "ResponseStoreContract",
    "RunStoreContract",
    "answer",
    "record",
]
