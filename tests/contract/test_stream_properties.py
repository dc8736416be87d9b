"""What edits an answer edits a stream the same however it is cut, and loses nothing of it."""

import json
import zlib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy import interceptors
from proxy.plugins import BUILT_IN
from proxy.wire.sse import split
from tests.built_in import TRANSLATORS
from tests.event_streams import Stream, cuts, streams, through

EDITING: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "reasoning": [("reasoning", {})],
    "reasoning, all of it": [("reasoning", {"include_if_not_finished": False})],
    "reasoning, from the start": [("reasoning", {"require_start_token": True})],
    "reasoning, own tokens": [("reasoning", {"start_reasoning_token": None, "end_reasoning_token": "é"})],
    "reasoning, discarded": [("reasoning", {"discard_reasoning": True})],
    "reasoning, back": [("reasoning", {"migrate_reasoning_content": True})],
    "finish_reason": [("finish_reason", {})],
    "both": [("reasoning", {}), ("finish_reason", {})],
    "with observers": [
        ("finish_reason", {}),
        ("reasoning", {"include_if_not_finished": False}),
        ("reasoning_replay", {}),
        ("response_stats", {}),
        ("response_logging", {}),
    ],
}
"""Pipelines whose interceptors change events."""
HOLDING = {"streaming"}
"""Those that put a stream together instead."""

ROUTES = st.sampled_from(["chat", "completions"])
relaxed = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def test_every_interceptor_that_edits_answers_is_here() -> None:
    folder = Path(interceptors.__path__[0])
    editing = {name for name in BUILT_IN if "edit_answer(" in (folder / f"{name}.py").read_text()}
    assert editing - TRANSLATORS <= {name for pipeline in EDITING.values() for name, _ in pipeline} | HOLDING


@pytest.mark.parametrize("name", EDITING)
@relaxed
@given(data=st.data(), route=ROUTES)
async def test_any_cut_gives_what_the_whole_gives(name: str, data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route))
    whole = await through(EDITING[name], [stream.body], route=route, max_tokens=3)
    parts = await through(EDITING[name], data.draw(cuts(stream.body)), route=route, max_tokens=3)
    assert parts.seen == whole.seen
    assert sorted(parts.changed) == sorted(whole.changed)


@pytest.mark.parametrize("name", EDITING)
@relaxed
@given(data=st.data(), route=ROUTES)
async def test_a_compressed_stream_gives_the_same(name: str, data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route))
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(stream.body) + packer.flush()
    whole = await through(EDITING[name], [stream.body], route=route, max_tokens=3)
    parts = await through(EDITING[name], data.draw(cuts(packed)), route=route, encoding=b"gzip", max_tokens=3)
    assert parts.seen == whole.seen


def _texts(documents: list[Any], stream: Stream) -> dict[int, str]:
    """What each choice says in all, without tokens and newlines."""
    found = dict.fromkeys(stream.texts, "")
    for document in documents:
        for choice in document.get("choices") or ():
            said = {**choice, **(choice.get("delta") or {})}
            fields = ("reasoning_content", "reasoning", "content", "text")
            found[choice["index"]] += "".join(said[name] for name in fields if isinstance(said.get(name), str))
    return found


def _outside_tokens(text: str) -> list[str]:
    return sorted(character for character in text if character not in "<>/think\n")


@pytest.mark.parametrize("name", ["reasoning", "reasoning, all of it", "reasoning, from the start", "both"])
@relaxed
@given(data=st.data(), route=ROUTES)
async def test_not_a_character_is_lost_but_tokens_and_newlines(name: str, data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route, noise=False))
    got = await through(EDITING[name], data.draw(cuts(stream.body)), route=route, max_tokens=3)
    assert got.error is None
    found = _texts(got.documents, stream)
    assert {index: _outside_tokens(text) for index, text in found.items()} == {
        index: _outside_tokens(text) for index, text in stream.texts.items()
    }


@pytest.mark.parametrize("name", EDITING)
@relaxed
@given(data=st.data(), route=ROUTES)
async def test_what_differs_is_in_the_ledger_and_nothing_else(name: str, data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route))
    got = await through(EDITING[name], data.draw(cuts(stream.body)), route=route, max_tokens=3)
    assert got.error is not None or (split(got.body) != split(stream.body)) == bool(got.changed)


@relaxed
@given(data=st.data(), route=ROUTES)
async def test_what_has_nothing_to_change_passes_byte_for_byte(data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route))
    got = await through([("finish_reason", {})], data.draw(cuts(stream.body)), route=route)
    assert (got.body, got.error, got.changed) == (stream.body, None, [])


@relaxed
@given(data=st.data(), route=ROUTES)
async def test_a_stream_that_is_put_together_is_the_same_document(data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route, noise=data.draw(st.booleans()), whole=data.draw(st.booleans())))
    pipeline: list[tuple[str, dict[str, Any]]] = [("streaming", {}), ("reasoning", {})]
    whole = await through(pipeline, [stream.body], route=route, stream=False)
    parts = await through(pipeline, data.draw(cuts(stream.body)), route=route, stream=False)
    assert parts == whole


@relaxed
@given(data=st.data(), route=ROUTES)
async def test_a_whole_stream_says_what_its_document_says(data: st.DataObject, route: str) -> None:
    stream = data.draw(streams(route, noise=False, whole=True))
    got = await through([("streaming", {})], data.draw(cuts(stream.body)), route=route, stream=False)
    assert got.error is None
    said = {
        choice["index"]: (choice["message"]["content"] if route == "chat" else choice["text"]) or ""
        for choice in json.loads(got.body)["choices"]
    }
    assert said == stream.texts
