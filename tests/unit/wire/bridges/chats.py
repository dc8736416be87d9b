"""Chat answers, whole and as streams, for tests of the bridges."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

UNHURRIED = settings(deadline=None)
ENVELOPE = {"id": "chatcmpl-7", "created": 5, "model": "m"}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}
TEXTS = st.sampled_from(["a", "\u2028é😀", "", " b\n", "data: x", "\r\n\r\n"])


def answer(finish: Any = "stop", usage: Any = USAGE, **message: Any) -> dict[str, Any]:
    said = {"role": "assistant", "content": None, **message}
    choice = {"index": 0, "message": said, "finish_reason": finish}
    return {**ENVELOPE, "object": "chat.completion", "choices": [choice], "usage": usage}


def chunk(finish: Any = None, logprobs: Any = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    return {**ENVELOPE, "object": "chat.completion.chunk", "choices": [choice]}


def used() -> dict[str, Any]:
    return {**ENVELOPE, "object": "chat.completion.chunk", "choices": [], "usage": USAGE}


def tool_delta(index: int, arguments: str | None, name: str | None = None) -> dict[str, Any]:
    call: dict[str, Any] = {"index": index, "function": {"arguments": arguments}}
    if name is not None:
        call = {
            "index": index,
            "id": f"c{index}",
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
    return chunk(tool_calls=[call])


def events(chunks: list[dict[str, Any]], end: str = "\n", comment: str = "", done: bool = True) -> bytes:
    """The chunks as a stream, with these line ends, and a comment behind each where there is one."""
    text = "".join(f"data: {json.dumps(item, ensure_ascii=False)}{end}{end}" + comment for item in chunks)
    return (text + (f"data: [DONE]{end}{end}" if done else "")).encode()


@st.composite
def streams(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The chunks of one answer: reasoning, then text, then calls, any of them missing, empty deltas between."""
    chunks = [chunk(role="assistant", content="")]
    chunks += [chunk(reasoning_content=text) for text in draw(st.lists(TEXTS, max_size=3))]
    for text in draw(st.lists(TEXTS, max_size=3)):
        scored = draw(st.none() | st.just({"content": [{"token": text, "logprob": -0.5, "top_logprobs": []}]}))
        chunks.append(chunk(content=text, logprobs=scored))
    for index in range(draw(st.integers(0, 2))):
        chunks.append(tool_delta(index, "", "f"))
        chunks += [tool_delta(index, text) for text in draw(st.lists(TEXTS, max_size=2))]
    chunks.append(chunk(finish=draw(st.sampled_from(["stop", "length", "tool_calls"]))))
    return [*chunks, used()]


def cut(data: st.DataObject, body: bytes) -> list[bytes]:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
