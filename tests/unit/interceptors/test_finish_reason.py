import pytest

from tests.unit.interceptors.alone import REQUEST, ask, events


def answer(*reasons, usage=None):
    choices = [
        {"index": index, "message": {"content": "x"}, "finish_reason": reason} for index, reason in enumerate(reasons)
    ]
    return {"choices": choices, **({} if usage is None else {"usage": usage})}


async def corrected(document, **request):
    asked = await ask("finish_reason", request={**REQUEST, **request}, answer=document)
    return [choice["finish_reason"] for choice in asked.json["choices"]]


@pytest.mark.parametrize(
    ("request_fields", "usage", "reason"),
    [
        ({"max_tokens": 5}, {"completion_tokens": 5}, "length"),
        ({"max_completion_tokens": 5, "max_tokens": 9}, {"completion_tokens": 5}, "length"),
        ({"max_tokens": 5}, {"completion_tokens": 4}, "stop"),
        ({"max_tokens": 5}, {"completion_tokens": 1, "completion_tokens_details": {"reasoning_tokens": 7}}, "length"),
        ({"max_tokens": 5}, None, "stop"),
        ({"max_tokens": 0}, {"completion_tokens": 5}, "stop"),
        ({}, {"completion_tokens": 5}, "stop"),
    ],
)
async def test_a_filled_limit_is_length(request_fields, usage, reason):
    assert await corrected(answer("stop", usage=usage), **request_fields) == [reason]


async def test_other_reasons_stay():
    assert await corrected(answer("tool_calls", usage={"completion_tokens": 5}), max_tokens=5) == ["tool_calls"]


async def test_the_usage_of_several_choices_says_nothing_of_one():
    assert await corrected(answer("stop", "stop", usage={"completion_tokens": 9}), max_tokens=5) == ["stop", "stop"]


async def test_a_choice_with_usage_of_its_own_is_known():
    document = answer("stop", "stop")
    document["choices"][1]["usage"] = {"completion_tokens": 5}
    assert await corrected(document, max_tokens=5) == ["stop", "length"]


async def test_the_ledger_says_why():
    asked = await ask(
        "finish_reason", request={**REQUEST, "max_tokens": 5}, answer=answer("stop", usage={"completion_tokens": 5})
    )
    [change] = asked.exchange.ledger.changes
    assert (change.field, change.why) == ("choices[0].finish_reason", "as many tokens as the limit")


def chunk(index=0, finish=None, **fields):
    return {"choices": [{"index": index, "delta": {"content": "x"}, "finish_reason": finish}], **fields}


USAGE = {"choices": [], "usage": {"completion_tokens": 5}}


async def stream(*chunks, size=1000, done=True):
    return await ask(
        "finish_reason", request={**REQUEST, "max_tokens": 5}, answer=events(*chunks, done=done), size=size
    )


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_a_stream_waits_for_the_usage_behind_its_end(size):
    asked = await stream(chunk(), chunk(finish="stop"), USAGE, size=size)
    assert asked.documents == [chunk(), chunk(finish="length"), USAGE]
    assert asked.changes == [("finish_reason", "choices[0].finish_reason")]


async def test_usage_may_be_in_the_last_chunk_itself():
    asked = await stream(chunk(finish="stop", usage=USAGE["usage"]))
    assert asked.documents == [chunk(finish="length", usage=USAGE["usage"])]


@pytest.mark.parametrize("done", [True, False])
async def test_a_stream_without_usage_passes_byte_for_byte(done):
    asked = await stream(chunk(), chunk(finish="stop"), done=done)
    assert asked.body == events(chunk(), chunk(finish="stop"), done=done)
    assert asked.changes == []


async def test_several_choices_of_a_stream_stay():
    chunks = [chunk(0, "stop"), chunk(1, "stop"), USAGE]
    assert (await stream(*chunks)).documents == chunks
