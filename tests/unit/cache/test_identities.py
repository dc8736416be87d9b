from proxy.cache.identities import Always, Named


async def test_always_the_same() -> None:
    always = Always(Named("a"))
    assert await always.current([], "m") == Named("a", "namespace", {})
    assert await always.confirmed(Named("a"), [], "m")
    assert not await always.confirmed(Named("b"), [], "m")
    always.doubt()
    assert await always.current([], None) == Named("a")


async def test_nobody_there() -> None:
    assert await Always().current([], "m") is None
    assert not await Always().confirmed(Named("a"), [], "m")
