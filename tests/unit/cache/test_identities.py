from proxy.cache.identities import Always
from proxy.wire.identity import Identity, ServerFacts


async def test_always_the_same() -> None:
    always = Always(Identity("a"))
    assert await always.current([], "m") == Identity("a", "namespace", {})
    assert await always.confirmed(Identity("a"), [], "m")
    assert not await always.confirmed(Identity("b"), [], "m")
    always.doubt()
    assert await always.current([], None) == Identity("a")
    assert not always.generates
    assert always.knows("whatever")


async def test_nobody_there() -> None:
    assert await Always().current([], "m") is None
    assert not await Always().confirmed(Identity("a"), [], "m")


async def test_what_a_server_told_is_told_for_ever() -> None:
    assert await Always().server([]) is None
    assert await Always(facts=ServerFacts("vllm")).server([]) == ServerFacts("vllm")
