import pytest

from proxy.cache.identities import Always
from proxy.core.errors import ServerUnknown, StoreUnwritable
from proxy.core.http import Exchange, Payload, Request
from proxy.core.redact import Redactor
from proxy.dialects.frozen import KEY, KIND
from proxy.interceptors.base import ModelNames, Services
from proxy.interceptors.run_profiles import RunProfiles
from proxy.store.base import RunState, StoreError
from proxy.store.memory import MemoryStore
from proxy.wire.identity import Identity, ServerFacts

FACTS = ServerFacts("vllm", cards={"models": {"big": {"max_model_len": "4096"}, "small": {"max_model_len": "512"}}})


def exchange(run=None, **fields):
    body = b'{"model": "%s"}' % fields.get("model", "big").encode()
    return Exchange(Request("POST", b"/v1/chat/completions", b"", [], Payload(body)), route="chat", run=run)


class Made:
    def __init__(self, store=None, identity="i1", facts=FACTS, **options):
        self.store = store or MemoryStore()
        watch = Always(Identity(identity) if identity else None, facts)
        names = ModelNames("small", {"alias": "small"})
        self.services = Services(lambda folder: self.store, self.store, self.store, watch, names, Redactor())
        choose = lambda told: told.server if told is not None else options.get("without")  # noqa: E731
        self.profiles = RunProfiles(
            self.services, choose=choose, verdicts=options.get("verdicts", {}), context=options.get("context")
        )

    async def of(self, run=None, **fields):
        return await self.profiles.of(exchange(run, **fields))


async def test_a_run_begins_with_what_the_server_tells():
    profile = await Made().of("r")

    assert (profile.identity, profile.dialect, profile.context_length) == ("i1", "vllm", 4096)


@pytest.mark.parametrize(("model", "length"), [("alias", 512), ("", 512), ("other", 512), ("big", 4096)])
async def test_the_context_is_that_of_the_model_that_is_meant(model, length):
    assert (await Made().of("r", model=model)).context_length == length


async def test_of_two_workers_that_begin_a_run_one_settles_it(monkeypatch):
    one = Made()
    first = await one.of("r")
    other = Made(one.store, facts=ServerFacts("tgi"))
    monkeypatch.setattr(one.store, "recall", lambda *place: None)  # as it was before the first had written

    assert await other.of("r") == first


async def test_what_was_probed_outranks_it():
    profile = await Made(verdicts={"chat.n": "ignored"}, context=100).of("r")

    assert (profile.context_length, profile.verdicts) == (100, {"chat.n": "ignored"})


async def test_a_named_run_keeps_its_profile_whatever_server_there_is():
    made = Made()
    first = await made.of("r")

    later = Made(made.store, identity="i2", facts=ServerFacts("tgi"))

    assert await later.of("r") == first
    assert await Made(made.store, identity=None, facts=None).of("r") == first


async def test_the_default_run_goes_by_the_server_there_is():
    made = Made()
    first = await made.of()
    later = Made(made.store, identity="i2", facts=ServerFacts("tgi"))

    second = await later.of()

    assert (first.identity, second.identity, second.dialect) == ("i1", "i2", "tgi")
    assert await later.of() == second
    assert await Made(made.store, identity=None, facts=None).of() == second


async def test_the_default_run_begins_anew_where_another_kind_of_server_has_the_same_namespace():
    made = Made()
    await made.of()

    later = Made(made.store, facts=ServerFacts("tgi"))

    assert (await later.of()).dialect == "tgi"
    assert (await later.of("named")).dialect == "tgi"


async def test_without_the_server_there_is_an_error_and_nothing_is_frozen():
    made = Made(identity=None, facts=None)

    with pytest.raises(ServerUnknown):
        await made.of("r")
    assert made.store.recall("r", KIND, KEY) is None


async def test_with_a_dialect_that_does_not_depend_on_it_nothing_is_frozen_yet():
    made = Made(identity=None, facts=None, without="tgi")

    assert (await made.of("r")).dialect == "tgi"
    assert made.store.recall("r", KIND, KEY) is None
    assert (await Made(made.store).of("r")).dialect == "vllm"


async def test_what_was_learned_is_what_later_runs_of_the_server_begin_with():
    made = Made()
    old = await made.of("old")

    now = await made.profiles.refused("r", await made.of("r"), "chat", {"top_k", "foo"})

    assert now.dropped == {"chat": ["foo", "top_k"]}
    assert (await made.of("new")).dropped == {"chat": ["foo", "top_k"]}
    assert await made.of("old") == old
    assert (await Made(made.store, identity="i2").of("other")).dropped == {}


async def test_what_is_learned_bit_by_bit_adds_up():
    made = Made()
    for route, name in [("chat", "b"), ("chat", "a"), ("completions", "c")]:
        await made.profiles.refused("r", await made.of("r"), route, {name})

    assert (await made.of("new")).dropped == {"chat": ["a", "b"], "completions": ["c"]}


async def test_what_the_run_has_used_is_learned_neither_by_it_nor_by_others():
    made = Made()
    profile = await made.profiles.accepted("r", await made.of("r"), "chat", {"top_k"})

    now = await made.profiles.refused("r", profile, "chat", {"top_k"})

    assert now.dropped == {}
    assert (await made.of("new")).dropped == {}


async def test_of_a_server_that_is_not_known_nothing_is_learned_for_others():
    made = Made(identity=None, facts=None, without="tgi")

    now = await made.profiles.refused("r", await made.of("r"), "chat", {"top_k"})

    assert now.dropped == {"chat": ["top_k"]}
    assert (await made.of("r")).dropped == {"chat": ["top_k"]}
    assert (await made.of("new")).dropped == {}


async def test_a_run_made_from_another_takes_its_profile_over(monkeypatch):
    made = Made()
    source = await made.profiles.refused("a", await made.of("a"), "chat", {"top_k"})

    async def state(run):
        return RunState(source="a" if run == "b" else None)

    monkeypatch.setattr(made.store, "run", state)

    assert await Made(made.store, identity="i2").of("b") == source


async def test_a_profile_of_another_version_is_replaced():
    made = Made()
    made.store.remember("r", KIND, KEY, '{"format": 9}')

    assert (await made.of("r")).dialect == "vllm"
    await made.profiles.accepted("r", await made.of("r"), "chat", {"a"})
    made.store.remember("r", KIND, KEY, '{"format": 9}')
    profile = await made.profiles.accepted("r", await made.of("r"), "chat", {"b"})
    assert profile.accepted == {"chat": ["b"]}


async def test_many_runs_do_not_fill_the_memory():
    made = Made()
    for number in range(300):
        await made.of(f"r{number}")
        await made.of(f"r{number}")

    assert len(made.profiles._read) <= 257
    assert len(made.profiles._begun) <= 256


async def test_a_store_that_refuses_is_an_error_that_a_retry_may_mend(monkeypatch):
    made = Made()

    async def refuse(*args):
        raise StoreError("full")

    monkeypatch.setattr(made.store, "amend", refuse)

    with pytest.raises(StoreUnwritable, match="normalize cannot keep what the run goes by: full"):
        await made.of("r")
