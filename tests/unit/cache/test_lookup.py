import json

import pytest

from proxy.cache.identities import Always
from proxy.cache.keeping import Keeper, Witness
from proxy.cache.lookup import NOTHING, OTHER_SHAPE, Lookup, as_response
from proxy.core.http import Payload
from proxy.store.base import StoredResponse
from proxy.store.memory import MemoryStore
from tests.unit.cache.parts import PROBED, Watchman, at, plain, stored

OTHER = json.loads(plain()) | {"id": "x", "object": "chat.completion", "created": 1, "model": "m"}
KEPT = stored(json.dumps(OTHER).encode(), headers=[(b"Content-Type", b"application/json"), (b"x-kept", b"1")])


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def lookup(store: MemoryStore) -> Lookup:
    return Lookup(store, Keeper(store, Always()))


async def test_what_is_stored_is_found(store: MemoryStore) -> None:
    assert await lookup(store).find(at(), "chat") == NOTHING
    store.put(at(), KEPT)
    assert await lookup(store).find(at(), "chat") == KEPT
    assert await lookup(store).find(at(sample=1), "chat") == NOTHING


async def test_what_is_about_to_be_kept_is_found(store: MemoryStore) -> None:
    watchman = Watchman()
    keeper = Keeper(store, watchman)
    keeper.keep(at(), KEPT, Witness(PROBED, [], "m"))
    (await watchman.looks.get()).set_result(True)
    assert await Lookup(store, keeper).find(at(), "chat") == KEPT
    await keeper.aclose()


@pytest.mark.parametrize("headers", [KEPT.headers, [(b"x-kept", b"1")]])
async def test_another_shape_is_made_of_it_with_its_own_content_type(store: MemoryStore, headers) -> None:
    store.put(at(), stored(KEPT.body, headers=headers))
    found = await lookup(store).find(at(shape="sse"), "chat")
    assert isinstance(found, StoredResponse)
    assert found.headers == [(b"x-kept", b"1"), (b"content-type", b"text/event-stream")]
    assert found.body.endswith(b"data: [DONE]\n\n")
    store.put(at(sample=1, shape='sse{"include_usage":true}'), stored(await counted(store)))
    back = await lookup(store).find(at(sample=1), "chat")
    assert isinstance(back, StoredResponse)
    assert back.headers == [(b"content-type", b"application/json")]
    assert json.loads(back.body)["choices"][0]["message"]["content"] == "hi"


async def counted(store: MemoryStore) -> bytes:
    found = await lookup(store).find(at(shape='sse{"include_usage":true}'), "chat")
    assert isinstance(found, StoredResponse)
    return found.body


async def test_what_would_lose_something_is_not_converted(store: MemoryStore) -> None:
    store.put(at(shape="sse"), stored(b"data: {}\n\n"))
    assert await lookup(store).find(at(), "chat") == OTHER_SHAPE
    assert await lookup(store).find(at(), "embeddings") == NOTHING


def test_a_stored_answer_as_a_response() -> None:
    made = as_response(KEPT)
    assert isinstance(made.body, Payload)
    assert (made.status, made.headers, made.body.raw) == (200, KEPT.headers, KEPT.body)
    made.headers.clear()
    assert KEPT.headers
