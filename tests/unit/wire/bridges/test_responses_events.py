import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.document import encode
from proxy.core.errors import AnswerNotEditable
from proxy.wire import fold, routes
from proxy.wire.bridges.event_bridge import EventBridge
from proxy.wire.bridges.responses_answer import Asked, response
from proxy.wire.bridges.responses_events import ResponseEvents
from proxy.wire.complete import is_complete
from proxy.wire.sse import split
from tests.unit.wire.bridges.chats import UNHURRIED, answer, chunk, cut, events, streams, tool_delta, used

ASKED = Asked({"model": "m", "input": "hi", "tools": []}, "abc")


def run(chunks: list[bytes]) -> bytes:
    bridge = EventBridge(ResponseEvents(ASKED), bridge="b", why="w")
    return b"".join([bridge.feed(item) for item in chunks]) + bridge.end()


def told(stream: bytes) -> list:
    return [json.loads(event.data) for event in split(stream).events]


def kinds(stream: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in told(stream)]


@UNHURRIED
@given(
    data=st.data(),
    chunks=streams(),
    form=st.tuples(st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", ": ping\n\n"]), st.booleans()),
    broken_at=st.none() | st.integers(0, 6),
)
def test_any_chunking_gives_the_events_of_the_whole(data, chunks, form, broken_at):
    if broken_at is not None:
        chunks.insert(broken_at, {"error": {"message": "\u2028"}})
    comment, body = form[1], events(chunks, *form)
    whole = run([body])
    assert split(run(cut(data, body))).events == split(whole).events
    assert whole.count(b": ping\n\n") == (len(chunks) if comment else 0)


@UNHURRIED
@given(streams())
def test_the_stream_put_together_is_the_plain_answer(chunks):
    stream = events(chunks)
    plain = fold.read(routes.CHAT, stream)
    made = run([stream])
    assert encode(fold.read(routes.RESPONSES, made)) == encode(response(ASKED, plain)[0])
    assert is_complete(routes.RESPONSES, {}, made, streamed=True)


@UNHURRIED
@given(streams())
def test_numbers_names_and_places_are_those_of_the_format(chunks):
    found = split(run([events(chunks)])).events
    documents = [json.loads(event.data) for event in found]
    assert [event.name for event in found] == [document["type"] for document in documents]
    assert [document["sequence_number"] for document in documents] == list(range(len(documents)))
    items = documents[-1]["response"]["output"]
    assert len({item["id"] for item in items}) == len(items)
    for document in documents:
        if "item_id" in document:
            assert items[document["output_index"]]["id"] == document["item_id"]


@UNHURRIED
@given(streams())
def test_deltas_add_up_to_what_is_done(chunks):
    said: dict = {}
    for event in told(run([events(chunks)])):
        where = (event.get("item_id"), event.get("content_index"))
        if event["type"].endswith(".delta"):
            said[where] = said.get(where, "") + event["delta"]
        elif event["type"].endswith(("_text.done", "arguments.done")):
            assert said.get(where, "") == event.get("text", event.get("arguments"))


def test_the_events_of_a_message():
    assert kinds(run([events([chunk(role="assistant", content=""), chunk(content="a"), chunk("stop"), used()])])) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]


def test_every_event_is_told_as_soon_as_its_chunk_is_there():
    bridge = EventBridge(ResponseEvents(ASKED), bridge="b", why="w")
    steps = [chunk(role="assistant"), chunk(reasoning_content="h"), chunk(content="a"), tool_delta(0, "{", "f"),
             chunk("tool_calls"), used()]  # fmt: skip
    last = [kinds(bridge.feed(events([step], done=False)))[-1:] for step in steps]
    assert last == [
        ["in_progress"],
        ["reasoning_text.delta"],
        ["output_text.delta"],
        ["function_call_arguments.delta"],
        [],
        [],
    ]
    assert kinds(bridge.feed(b"data: [DONE]\n\n"))[-1] == "completed"
    assert bridge.end() == b""


@pytest.mark.parametrize(
    ("error", "message", "code"),
    [
        ({"message": "out of memory", "code": 500}, "out of memory", "500"),
        ({"message": "busy"}, "busy", None),
        ("broken", "broken", None),
    ],
)
@pytest.mark.parametrize("begun", [True, False])
def test_an_error_fails_the_response_and_is_told_behind_it(error, message, code, begun):
    stream = events(([chunk(content="a")] if begun else []) + [{"error": error}, chunk(content="b"), used()])
    *_, failed, last = told(run([stream]))
    assert failed["type"] == "response.failed"
    assert failed["response"]["status"] == "failed"
    assert failed["response"]["error"] == {"code": "server_error", "message": message}
    assert [item["content"][0]["text"] for item in failed["response"]["output"]] == (["a"] if begun else [])
    assert (last["type"], last["message"], last["code"], last["error"]) == ("error", message, code, error)
    assert kinds(run([stream])).count("output_text.delta") == int(begun)


@pytest.mark.parametrize("chunks", [[], [chunk(content="a")], [chunk(content="a"), used()]])
@pytest.mark.parametrize("done", [True, False])
def test_a_stream_without_a_finish_reason_fails(chunks, done):
    assert kinds(run([events(chunks, done=done)]))[-1] == "failed"


def test_a_stream_without_done_is_complete_with_its_finish_reason():
    assert kinds(run([events([chunk(content="a"), chunk("stop")], done=False)]))[-1] == "completed"


def test_a_plain_answer_has_the_text_of_its_stream():
    stream = told(run([events([chunk(content="a"), chunk(content="b"), chunk("stop"), used()])]))[-1]["response"]
    assert stream == response(ASKED, answer(content="ab"))[0]


def test_what_is_lost_is_told_and_strict_loses_nothing():
    chosen = chunk("stop", content="a", annotations=[{}])
    bridge = EventBridge(ResponseEvents(ASKED), bridge="b", why="w")
    bridge.feed(events([chosen, chosen]))
    assert bridge.changes[0].why == "w; not carried: choices[].message.annotations"
    with pytest.raises(AnswerNotEditable, match=r"no place for choices\[\]\.message\.annotations"):
        EventBridge(ResponseEvents(ASKED), bridge="b", why="w", strict=True).feed(events([chosen]))


LLAMACPP = [
    {
        "choices": [{"finish_reason": None, "index": 0, "delta": {"role": "assistant", "content": None}}],
        "id": "chatcmpl-8",
    },
    {"choices": [{"finish_reason": None, "index": 0, "delta": {"content": "I'm"}}], "id": "chatcmpl-8", "created": 7},
    {"choices": [{"finish_reason": "length", "index": 0, "delta": {}}], "id": "chatcmpl-8", "created": 7},
    {
        "choices": [],
        "id": "chatcmpl-8",
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
        "timings": {"cache_n": 31},
    },
]
TRANSFORMERS = [
    {"id": "834c", "choices": [{"delta": {"role": "assistant"}, "index": 0}], "created": 7, "system_fingerprint": ""},
    {"id": "834c", "choices": [{"delta": {"content": "I'm"}, "index": 0}], "created": 7, "system_fingerprint": ""},
    {"id": "834c", "choices": [{"delta": {}, "index": 0, "finish_reason": "length"}], "usage": {"prompt_tokens": 3}},
]


@pytest.mark.parametrize(
    ("chunks", "done", "more"),
    [(LLAMACPP, True, {"timings": {"cache_n": 31}}), (TRANSFORMERS, False, {"system_fingerprint": ""})],
)
def test_streams_as_servers_send_them(chunks, done, more):
    last = told(run([events(chunks, done=done)]))[-1]
    whole = last["response"]
    assert (last["type"], whole["output"][0]["content"][0]["text"]) == ("response.incomplete", "I'm")
    assert whole["usage"]["input_tokens"] == 3
    assert more.items() <= whole.items()
