"""normalize learns from refusals, through the whole sidecar, what a server does not take."""

import asyncio
from typing import Any

import pytest

from proxy.testing import ModelServer, Reply
from tests.contract.gated import gated
from tests.contract.normalizing import normalize, refusing, replayed
from tests.contract.sidecar import CHAT, chat, sidecar

LEARN = normalize(dialect="vllm", on_unsupported="learn")


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


class TestLearning:
    """Of a server whose dialect nobody knows."""

    @pytest.fixture
    def odd(self, server):
        server.on(CHAT, refusing("model", "messages", "temperature", "stream", "max_tokens"))
        return server

    async def test_what_is_refused_is_left_out_and_asked_again_once(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            first = await proxy.ask(chat(top_k=1, seed=1))
            second = await proxy.ask(chat(top_k=2, max_tokens=3))
            await replayed(proxy)
            row = (await proxy.rows())[0]
        assert (first.status, second.status) == (200, 200)
        sent = [request.json for request in odd.generation_requests]
        assert sent == [chat(top_k=1, seed=1), chat(), chat(max_tokens=3)]
        assert [(change["field"], change["why"]) for change in row["changes"]] == [
            ("top_k", "vllm has refused it"), ("seed", "vllm has refused it")
        ]  # fmt: skip

    async def test_it_is_known_after_a_restart_and_in_other_runs(self, tmp_path, odd) -> None:
        for run in ("a", "b"):
            async with sidecar(tmp_path, odd, LEARN) as proxy:
                assert (await proxy.ask(chat(top_k=1), x_evalside_run=run)).status == 200
        assert [request.json for request in odd.generation_requests] == [chat(top_k=1), chat()]

    async def test_two_workers_share_it(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as one, sidecar(tmp_path, odd, LEARN) as other:
            await one.ask(chat(top_k=1), x_evalside_run="r")
            odd.clear()
            await other.ask(chat(top_k=1, max_tokens=2), x_evalside_run="r")
        assert [request.json for request in odd.generation_requests] == [chat(max_tokens=2)]

    async def test_a_server_that_names_one_at_a_time_is_asked_again_once_and_remembered(self, tmp_path, server) -> None:
        def picky(request: Any) -> Reply | None:
            named = next((name for name in ("top_k", "min_p", "foo") if name in request.json), None)
            message = f"Unrecognized request argument supplied: {named}"
            return Reply(status=400, json={"error": {"message": message}}) if named else None

        server.on(CHAT, picky)
        async with sidecar(tmp_path, server, LEARN) as proxy:
            first = await proxy.ask(chat(top_k=1, min_p=1, foo=1))
            calls = proxy.calls
            second = await proxy.ask(chat(top_k=1, min_p=1, foo=1))
            third = await proxy.ask(chat(top_k=1, min_p=1, foo=1))
        assert (first.status, calls) == (400, 2)
        assert "min_p" in first.json["error"]["message"]
        assert (second.status, third.cache) == (200, "hit")

    async def test_n_that_is_refused_is_asked_for_choice_by_choice(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            answered = await proxy.ask(chat(n=2, user="u", temperature=1))
            again = await proxy.ask(chat(n=3, temperature=1))
        assert [len(answer.json["choices"]) for answer in (answered, again)] == [2, 3]
        assert proxy.calls == 1 + 2 + 3

    async def test_what_names_no_parameter_is_the_clients(self, tmp_path, server) -> None:
        server.on(CHAT, Reply(status=400, json={"error": {"message": "too long", "code": 400}}))
        async with sidecar(tmp_path, server, LEARN) as proxy:
            answered = await proxy.ask(chat(top_k=1))
        assert (answered.status, answered.json["error"]["message"]) == (400, "too long")
        assert proxy.calls == 1

    async def test_what_a_request_is_nothing_without_is_never_left_out(self, tmp_path, server) -> None:
        server.on(CHAT, refusing("model"))
        async with sidecar(tmp_path, server, LEARN) as proxy:
            answered = await proxy.ask({"messages": [], "tools": []})
        assert answered.status == 422
        assert proxy.calls == 1

    async def test_what_a_run_has_used_is_never_left_out_of_it(self, tmp_path, server) -> None:
        """Else requests that were answered would be others when they come again."""
        picky = Reply(status=400, json={"error": {"message": "Unrecognized request argument supplied: top_k"}})
        server.on(CHAT, lambda request: picky if request.json.get("top_k") == 9 else None)
        async with sidecar(tmp_path, server, LEARN) as proxy:
            taken = await proxy.ask(chat(top_k=1), x_evalside_run="r")
            refused = await proxy.ask(chat(top_k=9), x_evalside_run="r")
            again = await proxy.ask(chat(top_k=1), x_evalside_run="r")
        assert (taken.status, refused.status, again.status) == (200, 400, 200)
        assert again.cache == "hit"

    async def test_an_answer_that_took_what_another_saw_refused_is_asked_again(self, tmp_path) -> None:
        """A run settles each parameter once, also where a server changes its mind in between."""
        async with gated() as upstream, sidecar(tmp_path, upstream, LEARN) as proxy:
            early = asyncio.ensure_future(proxy.ask(chat(top_k=1, max_tokens=5)))
            slow = await upstream.call()
            late = asyncio.ensure_future(proxy.ask(chat(top_k=2)))
            await (await upstream.call()).answer("Unrecognized request argument supplied: top_k", status=400)
            again = await upstream.call()
            await again.answer("late")
            assert (await late).json["choices"][0]["message"]["content"] == "late"
            await slow.answer("with top_k")
            once_more = await upstream.call()
            await once_more.answer("without")
            answered = await early
        assert [call.json for call in (slow, again, once_more)] == [
            chat(top_k=1, max_tokens=5), chat(), chat(max_tokens=5)
        ]  # fmt: skip
        assert answered.json["choices"][0]["message"]["content"] == "without"

    async def test_a_frozen_run_is_replayed_whatever_was_learned_since(self, tmp_path, server) -> None:
        async with sidecar(tmp_path, server, LEARN) as proxy:
            asked = [chat(top_k=1), chat(min_p=0.5, temperature=1)]
            first = [(await proxy.ask(body, x_evalside_run="old")).body for body in asked]
            server.on(CHAT, refusing("model", "messages", "temperature"))
            await proxy.ask(chat(top_k=2), x_evalside_run="new")
            await proxy.ask(chat(min_p=0.1), x_evalside_run="new")
            calls = proxy.calls
            async with proxy.exchange("/-/runs/old", b"", {}, "POST") as exchange:
                assert (await exchange.start()).status == 200
                await exchange.read()
            second = [await proxy.ask(body, x_evalside_run="old") for body in asked]
        assert [answer.cache for answer in second] == ["hit", "hit"]
        assert [answer.body for answer in second] == first
        assert proxy.calls == calls

    async def test_a_run_is_replayed_with_what_it_learned_itself(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            asked = [chat(top_k=1), chat(seed=3), chat(max_tokens=2, min_p=0.5)]
            first = [(await proxy.ask(body, x_evalside_run="r")).body for body in asked]
            calls = proxy.calls
            second = [await proxy.ask(body, x_evalside_run="r") for body in asked]
        assert [answer.cache for answer in second] == ["hit"] * 3
        assert [answer.body for answer in second] == first
        assert proxy.calls == calls

    async def test_a_run_made_from_another_goes_by_its_profile(self, tmp_path, odd) -> None:
        async with sidecar(tmp_path, odd, LEARN) as proxy:
            body = chat(top_k=1, temperature=1)
            first = (await proxy.ask(body, x_evalside_run="a")).body
            odd.on(CHAT, None)
            async with proxy.exchange("/-/runs/b", {"from": "a"}, {}, "POST") as exchange:
                assert (await exchange.start()).status == 200
                await exchange.read()
            answered = await proxy.ask(body, x_evalside_run="b")
        assert (answered.cache, answered.body) == ("hit", first)
