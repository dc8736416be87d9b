"""Strategies for plain answers of the generation routes: as rich as the formats allow, with odd numbers and names."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from proxy.core.document import FloatLiteral

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBERS = st.sampled_from([FloatLiteral(text) for text in ("1e400", "-0.0", "1.50", "-0", "1E2")]) | st.sampled_from(
    [0, -7, 2**64, 2**63 - 1, -(2**80)]
)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(TEXT, inner, max_size=2),
    max_leaves=4,
)
EXTRAS = st.dictionaries(st.sampled_from(["x_a", "x_b", "timings", "é\u2028"]), JSON, max_size=2)


def fields(required: dict[str, Any], optional: dict[str, Any] | None = None) -> st.SearchStrategy[dict[str, Any]]:
    """Objects with these fields, any of the optional ones, and some that nobody knows."""
    known = st.fixed_dictionaries(required, optional=optional or {})
    return st.builds(lambda extras, document: {**extras, **document}, EXTRAS, known)


FUNCTION = st.fixed_dictionaries({"name": TEXT, "arguments": TEXT})
CALL = fields(
    {"id": TEXT, "type": st.just("function"), "function": FUNCTION}
) | fields(
    {"id": TEXT, "type": st.just("custom"), "custom": st.fixed_dictionaries({"name": TEXT, "input": TEXT})}
)  # fmt: skip
TOKENS = st.lists(fields({"token": TEXT, "logprob": NUMBERS}), max_size=3)
MESSAGE = fields(
    {"role": st.just("assistant"), "content": st.none() | TEXT},
    {
        "tool_calls": st.none() | st.lists(CALL, max_size=3),
        "function_call": st.none() | FUNCTION,
        "reasoning_content": st.none() | TEXT,
        "reasoning": st.none() | TEXT,
        "reasoning_details": st.lists(JSON, max_size=2),
        "refusal": st.none() | TEXT,
        "annotations": st.none() | st.lists(JSON, max_size=2),
    },
)
REASON = st.sampled_from(["stop", "length", "tool_calls"])
OPTIONAL = {"created": st.integers(0, 2**70), "model": TEXT, "system_fingerprint": st.none() | TEXT}
USAGE = fields({"prompt_tokens": NUMBERS, "completion_tokens": NUMBERS})


def _choices(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[list[dict[str, Any]]]:
    choice = fields({**required, "finish_reason": REASON}, optional)
    listed = st.lists(choice, min_size=1, max_size=3)
    return listed.map(lambda items: [{**item, "index": index} for index, item in enumerate(items)])


CHAT = fields(
    {
        "id": TEXT,
        "object": st.just("chat.completion"),
        "choices": _choices(
            {"message": MESSAGE},
            {
                "logprobs": st.none() | fields({"content": st.none() | TOKENS}, {"refusal": st.none() | TOKENS}),
                "stop_reason": JSON,
                "token_ids": st.none() | st.lists(st.integers(), max_size=3),
            },
        ),
        "usage": USAGE,
    },
    OPTIONAL,
)


def _text_logprobs(tokens: list[str]) -> dict[str, Any]:
    offsets = [sum(map(len, tokens[:place])) for place in range(len(tokens))]
    scored: list[Any] = [None, *(FloatLiteral("-0.50") for _ in tokens[1:])][: len(tokens)]
    return {"tokens": tokens, "token_logprobs": scored, "top_logprobs": scored, "text_offset": offsets}


COMPLETION = fields(
    {
        "id": TEXT,
        "object": st.just("text_completion"),
        "choices": _choices(
            {"text": TEXT},
            {"logprobs": st.none() | st.lists(TEXT.filter(bool), max_size=3).map(_text_logprobs), "stop_reason": JSON},
        ),
        "usage": USAGE,
    },
    OPTIONAL,
)

_CONTENT = st.lists(
    fields({"type": st.just("output_text"), "text": TEXT}, {"logprobs": TOKENS, "annotations": st.lists(JSON)})
    | fields({"type": st.just("refusal"), "refusal": TEXT}),
    max_size=2,
)
_SAID = fields({"type": st.just("message"), "id": TEXT, "status": st.just("completed"), "content": _CONTENT})
_CALLED = fields(
    {"type": st.just("function_call"), "call_id": TEXT, "arguments": TEXT}, {"id": TEXT, "name": TEXT}
) | fields({"type": st.just("custom_tool_call"), "call_id": TEXT, "input": TEXT})  # fmt: skip
_THOUGHT = fields(
    {
        "type": st.just("reasoning"),
        "summary": st.lists(fields({"type": st.just("summary_text"), "text": TEXT}), max_size=2),
    },
    {
        "content": st.none() | st.lists(fields({"type": st.just("reasoning_text"), "text": TEXT}), max_size=2),
        "encrypted_content": st.none() | TEXT,
    },
)


def _one_kind(items: list[dict[str, Any]]) -> bool:
    """Either all texts have logprobs or none: a request asks for all or none."""
    parts = [part for item in items for part in item.get("content") or [] if part.get("type") == "output_text"]
    return len({bool(part.get("logprobs")) for part in parts}) < 2


RESPONSE = fields(
    {
        "id": TEXT,
        "object": st.just("response"),
        "status": st.sampled_from(["completed", "incomplete"]),
        "incomplete_details": st.just({"reason": "max_output_tokens"}),
        "output": st.lists(_SAID | _CALLED | _THOUGHT, min_size=1, max_size=3).filter(_one_kind),
        "usage": USAGE,
    },
    {"completed_at": NUMBERS, "metadata": JSON},
)

_BLOCK = (
    fields({"type": st.just("text"), "text": TEXT}, {"citations": st.none() | st.lists(JSON, max_size=2)})
    | fields({"type": st.just("thinking"), "thinking": TEXT}, {"signature": TEXT})
    | fields({"type": st.just("tool_use"), "id": TEXT, "name": TEXT, "input": st.dictionaries(TEXT, JSON, max_size=3)})
    | fields({"type": st.just("redacted_thinking"), "data": TEXT})
)
ANTHROPIC = fields(
    {
        "id": TEXT,
        "type": st.just("message"),
        "role": st.just("assistant"),
        "content": st.lists(_BLOCK, max_size=3),
        "stop_reason": st.sampled_from(["end_turn", "max_tokens", "tool_use"]),
        "usage": fields({"input_tokens": NUMBERS, "output_tokens": NUMBERS}),
    },
    {"stop_sequence": st.none() | TEXT, "model": TEXT},
)
