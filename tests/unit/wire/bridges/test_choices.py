import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.document import encode
from proxy.core.errors import AnswerNotEditable
from proxy.wire import fold, routes
from proxy.wire.bridges.choices import ChatOfCompletion, CompletionOfChat
from proxy.wire.bridges.event_bridge import EventBridge
from proxy.wire.complete import is_complete
from proxy.wire.fold_merge import alike
from proxy.wire.sse import split
from tests.unit.wire.bridges.chats import UNHURRIED, USAGE, cut, events

CHAT = {"id": "chatcmpl-7", "object": "chat.completion", "model": "m", "usage": USAGE, "x": 1}
COMPLETION = {**CHAT, "id": "cmpl-7", "object": "text_completion"}
TEXTS = st.sampled_from(["a", "\u2028é😀", "", " b\n", "data: x"])
SCORED = {"content": [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}], "refusal": None}


def chat(text, index=0, finish="stop", logprobs=None, **fields):
    message = {"role": "assistant", "content": text, **fields}
    return {"index": index, "message": message, "finish_reason": finish, "logprobs": logprobs}


def completion(text, index=0, finish="stop", logprobs=None, **fields):
    return {"index": index, "text": text, "finish_reason": finish, "logprobs": logprobs, **fields}


def streamed(texts, *, chats, n=2):
    """The chunks of n choices, each of these texts."""
    envelope = {**CHAT, "object": "chat.completion.chunk"} if chats else dict(COMPLETION)
    del envelope["usage"]
    chunks = []
    for text in texts:
        for index in range(n):
            said = {"delta": {"content": text}} if chats else {"text": text}
            chunks.append({**envelope, "choices": [{"index": index, **said, "logprobs": None, "finish_reason": None}]})
    for index in range(n):
        said = {"delta": {}} if chats else {"text": ""}
        chunks.append({**envelope, "choices": [{"index": index, **said, "logprobs": None, "finish_reason": "stop"}]})
    return [*chunks, {**envelope, "choices": [], "usage": USAGE}]


def run(translator, chunks):
    bridge = EventBridge(translator, bridge="b", why="w")
    return b"".join([bridge.feed(item) for item in chunks]) + bridge.end()


@UNHURRIED
@given(st.lists(st.tuples(TEXTS, st.sampled_from(["stop", "length"]), st.sampled_from([None, SCORED])), max_size=3))
def test_there_and_back_is_the_same_answer(items):
    whole = {**CHAT, "choices": [chat(text, index, *rest) for index, (text, *rest) in enumerate(items)]}
    there = CompletionOfChat().whole(whole)
    assert [choice["text"] for choice in there["choices"]] == [text for text, *_ in items]
    assert (there["id"], there["object"]) == ("cmpl-7", "text_completion")
    assert ChatOfCompletion().whole(there) == whole


@pytest.mark.parametrize(("translator", "chats", "other"), [
    (CompletionOfChat, True, routes.COMPLETIONS), (ChatOfCompletion, False, routes.CHAT)
])  # fmt: skip
@UNHURRIED
@given(
    data=st.data(),
    texts=st.lists(TEXTS, max_size=3),
    form=st.tuples(st.sampled_from(["\n", "\r\n", "\r"]), st.sampled_from(["", ": ping\n\n"])),
)
def test_any_chunking_is_the_whole_and_put_together_it_is_the_plain_answer(translator, chats, other, data, texts, form):
    chunks = streamed(texts, chats=chats)
    body = events(chunks, *form)
    whole = run(translator(), [body])
    assert split(run(translator(), cut(data, body))).events == split(whole).events
    assert is_complete(other, {"n": 2}, whole, streamed=True)
    plain = translator().whole(fold.read(routes.CHAT if chats else routes.COMPLETIONS, events(chunks)))
    assert alike(json.loads(encode(fold.read(other, whole))), json.loads(encode(plain)))


def test_a_stream_without_done_gets_none():
    chunks = streamed(["a"], chats=True)
    assert b"[DONE]" not in run(CompletionOfChat(), [events(chunks, done=False)])
    assert run(CompletionOfChat(), [events(chunks)]).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("translator", [CompletionOfChat, ChatOfCompletion])
def test_errors_have_the_same_form_on_both_routes(translator):
    error = {"error": {"message": "broken", "code": 500}}
    assert json.loads(split(run(translator(), [events([error])])).events[0].data) == error


def test_the_first_chunk_of_each_choice_has_the_role():
    made = [
        json.loads(event.data)
        for event in split(run(ChatOfCompletion(), [events(streamed(["a", "b"], chats=False))])).events[:-1]
    ]
    deltas = [choice["delta"] for document in made for choice in document["choices"]]
    first = {"role": "assistant", "content": "a"}
    assert deltas == [first, first, {"content": "b"}, {"content": "b"}, {}, {}]


def test_reasoning_stays_beside_the_text():
    there = CompletionOfChat().whole({**CHAT, "choices": [chat("42", reasoning_content="hm", reasoning=None)]})
    assert there["choices"] == [completion("42", reasoning_content="hm")]
    assert ChatOfCompletion().whole(there)["choices"] == [chat("42", reasoning_content="hm")]


def test_logprobs_of_a_stream_count_on():
    chunks = [
        {"id": "chatcmpl-7", "choices": [{"index": 0, "delta": {"content": "a"}, "logprobs": SCORED}]} for _ in range(3)
    ]
    made = CompletionOfChat()
    offsets = [
        json.loads(made.event(item).removeprefix(b"data: "))["choices"][0]["logprobs"]["text_offset"] for item in chunks
    ]
    assert offsets == [[0], [1], [2]]


def test_logprobs_come_in_the_shape_of_a_chat_as_many_as_were_asked_for():
    scored = {"tokens": ["a"], "token_logprobs": [-1.0], "top_logprobs": [{"a": -1.0, "b": -2.0}], "text_offset": [0]}
    [made] = ChatOfCompletion(1).whole({**COMPLETION, "choices": [completion("a", logprobs=scored)]})["choices"]
    [token] = made["logprobs"]["content"]
    assert (token["token"], token["bytes"]) == ("a", [97])
    assert [item["token"] for item in token["top_logprobs"]] == ["a"]


@pytest.mark.parametrize("fields", [
    {"tool_calls": [{}]}, {"refusal": "no"}, {"audio": {"id": "a"}}, {"function_call": {"name": "f"}},
    {"content": [{"type": "text"}]},
])  # fmt: skip
def test_what_a_completion_cannot_hold_is_an_error(fields):
    with pytest.raises(AnswerNotEditable):
        CompletionOfChat().whole(
            {
                **CHAT,
                "choices": [
                    chat("a", **{"content": "a", **fields})
                    if "content" not in fields
                    else {"index": 0, "message": fields}
                ],
            }
        )


def test_what_else_a_message_says_is_told_as_lost():
    made = CompletionOfChat()
    assert made.whole({**CHAT, "choices": [chat("a", annotations=[{}], tool_calls=[]), chat("b", 1, annotations=[{}])]})
    assert made.lost == ["choices[].message.annotations"]
    assert ChatOfCompletion().lost == []


@pytest.mark.parametrize("choice", [{"index": 0}, {"index": 0, "text": None}])
def test_a_completion_has_a_text(choice):
    with pytest.raises(AnswerNotEditable, match="has no text"):
        ChatOfCompletion().whole({"choices": [choice]})


@pytest.mark.parametrize("choice", [{"index": 0}, {"index": 0, "message": None}])
def test_a_chat_has_a_message(choice):
    with pytest.raises(AnswerNotEditable, match="has no message"):
        CompletionOfChat().whole({"choices": [choice]})
