import pytest

from proxy.core.document import FloatLiteral
from proxy.core.errors import AnswerNotEditable
from proxy.wire.bridges.responses_answer import ECHOED, Answer, Asked, response, usage
from tests.unit.wire.bridges.chats import ENVELOPE, answer, chunk

ASKED = Asked({"model": "alias", "input": "hi"}, "abc")


def made(given, asked=ASKED):
    return response(asked, given)[0]


def texts(whole):
    return [part.get("text", part.get("refusal")) for item in whole["output"] for part in item.get("content", [])]


def test_a_plain_answer_is_a_response():
    whole, lost = response(ASKED, answer(content="yes"))
    assert whole == {
        **ECHOED,
        "id": "resp_7",
        "object": "response",
        "created_at": 5,
        "model": "m",
        "status": "completed",
        "error": None,
        "incomplete_details": None,
        "store": False,
        "output": [
            {
                "id": "msg_7",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "yes", "annotations": [], "logprobs": []}],
            }
        ],
        "usage": {
            "input_tokens": 3,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 4,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 7,
        },
    }
    assert lost == []


def test_a_response_repeats_its_request():
    request = {"instructions": "Be kind.", "temperature": FloatLiteral("0.50"), "metadata": {"a": "b"}, "tools": None}
    whole = made(answer(content="yes"), Asked(request, "abc"))
    assert (whole["instructions"], whole["metadata"], whole["tools"]) == ("Be kind.", {"a": "b"}, [])
    assert whole["temperature"].text == "0.50"


@pytest.mark.parametrize("given", ["", None])
def test_without_an_id_of_the_server_that_of_the_exchange_is_taken(given):
    whole = made({**answer(content="yes"), "id": given, "model": None})
    assert (whole["id"], whole["output"][0]["id"], whole["model"]) == ("resp_abc", "msg_abc", "alias")


@pytest.mark.parametrize(
    ("finish", "status", "details"),
    [
        ("stop", "completed", None),
        ("tool_calls", "completed", None),
        ("eos_token", "completed", None),
        ("length", "incomplete", {"reason": "max_output_tokens"}),
        ("content_filter", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_the_status_is_that_of_the_finish_reason(finish, status, details):
    whole = made(answer(finish, content="yes"))
    assert (whole["status"], whole["incomplete_details"], whole["output"][0]["status"]) == (status, details, status)


@pytest.mark.parametrize("finish", [None, "abort", {"type": "stop"}])
def test_an_answer_that_did_not_end_well_is_a_failed_response_with_what_came(finish):
    whole = made(answer(finish, content="ye"))
    assert (whole["status"], whole["error"]["code"], texts(whole)) == ("failed", "server_error", ["ye"])
    assert ("null" if finish is None else str(finish)) in whole["error"]["message"]


def test_reasoning_text_refusal_and_calls_are_items_in_this_order():
    calls = [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
    whole = made(answer(reasoning_content="hm", content="yes", refusal="no", tool_calls=calls))
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call"]
    assert texts(whole) == ["hm", "yes", "no"]


@pytest.mark.parametrize("fields", [{"reasoning": "hm"}, {"reasoning": "hm", "reasoning_content": "hm"}])
def test_reasoning_has_two_names(fields):
    whole, lost = response(ASKED, answer(content="yes", **fields))
    assert (texts(whole), lost) == (["hm", "yes"], [])


def test_two_reasonings_that_differ_are_one_and_a_loss():
    whole, lost = response(ASKED, answer(content="yes", reasoning="a", reasoning_content="b"))
    assert (texts(whole), lost) == (["b", "yes"], ["choices[].message.reasoning"])


def test_calls_without_an_id_get_one_that_is_their_own():
    calls = [{"function": {"name": name, "arguments": "{}"}} for name in ("f", "g")]
    whole = made(answer("tool_calls", tool_calls=calls))
    assert [(item["id"], item["call_id"]) for item in whole["output"]] == [("fc_7", "call_7_0"), ("fc_7_1", "call_7_1")]


def test_arguments_that_come_before_the_name_wait_for_it():
    pieces: list[dict] = [{"id": "c", "function": {"arguments": "{"}}, {"function": {"name": "f", "arguments": None}}]
    taken = Answer(ASKED)
    events = [event for piece in pieces for event in taken.take(chunk(tool_calls=[{"index": 0, **piece}]))]
    events += [*taken.take(chunk("tool_calls")), *taken.end()]
    assert taken.response["output"][0]["arguments"] == "{"
    assert [event["delta"] for event in events if "delta" in event] == ["{"]


@pytest.mark.parametrize("index", [{"index": 0}, {}])
def test_calls_that_share_an_index_are_told_apart_by_id_and_name(index):
    taken = Answer(ASKED)
    pieces = [("a", "f", "{"), (None, None, "}"), ("b", "g", "{}"), ("random", None, " ")]
    for call_id, name, arguments in pieces:
        call: dict = {**index, "id": call_id, "function": {"name": name, "arguments": arguments}}
        list(taken.take(chunk(tool_calls=[call])))
    list(taken.take(chunk("tool_calls")))
    list(taken.end())
    assert [(item["call_id"], item["name"], item["arguments"]) for item in taken.response["output"]] == [
        ("a", "f", "{}"),
        ("b", "g", "{} "),
    ]


def test_an_empty_piece_of_a_call_behind_the_next_says_nothing():
    taken = Answer(ASKED)
    for index, name, arguments in ((0, "f", "{}"), (1, "g", "{}"), (0, None, ""), (0, None, None)):
        list(taken.take(chunk(tool_calls=[{"index": index, "function": {"name": name, "arguments": arguments}}])))
    list(taken.take(chunk("tool_calls")))
    list(taken.end())
    assert [item["arguments"] for item in taken.response["output"]] == ["{}", "{}"]


def test_arguments_may_be_an_object():
    calls = [{"id": "c", "function": {"name": "f", "arguments": {"city": "é", "n": FloatLiteral("1.50")}}}]
    assert made(answer("tool_calls", tool_calls=calls))["output"][0]["arguments"] == '{"city":"é","n":1.50}'


def test_a_call_that_never_gets_a_name_is_an_error():
    with pytest.raises(AnswerNotEditable, match="without a name"):
        made(answer("tool_calls", tool_calls=[{"function": {"arguments": "{}"}}]))


@pytest.mark.parametrize("piece", [{"index": None}, {"id": 7}, {"function": {"name": 7}}])
def test_a_call_of_another_form_is_an_error(piece):
    call = {"function": {"name": "f", "arguments": "{}"}, **piece}
    with pytest.raises(AnswerNotEditable, match="of another type"):
        made(answer("tool_calls", tool_calls=[call]))


@pytest.mark.parametrize("call", ["f", {"type": "custom", "custom": {}}])
def test_a_call_that_is_no_function_is_an_error(call):
    with pytest.raises(AnswerNotEditable, match="not a function"):
        made(answer("tool_calls", tool_calls=[call]))


def test_logprobs_are_with_the_text():
    scored = [{"token": "yes", "logprob": -0.5, "top_logprobs": []}]
    given = answer(content="yes")
    given["choices"][0]["logprobs"] = {"content": scored, "refusal": None}
    assert made(given)["output"][0]["content"][0]["logprobs"] == scored
    given["choices"][0]["logprobs"] = {"content": None}
    assert made(given)["output"][0]["content"][0]["logprobs"] == []
    given["choices"][0]["logprobs"] = {"content": None, "refusal": scored}
    assert response(ASKED, given)[1] == ["choices[].logprobs.refusal"]


def test_what_is_lost_is_told():
    given = {**answer(content=None, annotations=[{}], tool_calls=[{"function": {"name": "f"}}]), "store": True, "x": 1}
    given["choices"][0] |= {"stop_reason": 7, "token_ids": None, "logprobs": {"content": [{"token": "{"}]}, "user": 1}
    whole, lost = response(ASKED, given)
    assert lost == ["store", "choices[].user", "choices[].message.annotations", "choices[].logprobs"]
    assert (whole["store"], whole["x"], whole["stop_reason"], "token_ids" in whole) == (False, 1, 7, False)
    given["choices"] += [{**given["choices"][0], "index": 1}]
    with pytest.raises(AnswerNotEditable, match="several choices"):
        made(given)


@pytest.mark.parametrize(
    "fields",
    [{"audio": {"id": "a"}}, {"function_call": {"name": "f"}}, {"content": [{"type": "text"}]}, {"refusal": 1}],
)
def test_what_a_response_cannot_hold_is_an_error(fields):
    with pytest.raises(AnswerNotEditable):
        made(answer(**fields))


def test_logprobs_of_another_form_are_an_error():
    given = answer(content="yes")
    given["choices"][0]["logprobs"] = {"content": True}
    with pytest.raises(AnswerNotEditable, match="no list of tokens"):
        made(given)


def test_an_index_is_a_number():
    with pytest.raises(AnswerNotEditable, match="index of a choice"):
        made({**ENVELOPE, "choices": [{"index": None}]})


@pytest.mark.parametrize("choices", [None, ["yes"], {}])
def test_an_answer_without_choices_is_an_error(choices):
    with pytest.raises(AnswerNotEditable, match="no list of choices"):
        made({**ENVELOPE, "choices": choices})


def test_a_choice_without_a_message_says_nothing():
    assert texts(made({**ENVELOPE, "choices": [{"index": 0, "message": None, "finish_reason": "stop"}]})) == [""]


def test_usage_in_the_names_of_a_response():
    assert usage(
        {
            "prompt_tokens": 3,
            "completion_tokens": None,
            "prompt_tokens_details": {"cached_tokens": 2, "audio_tokens": None},
            "completion_tokens_details": {"reasoning_tokens": 1},
            "cost": 0.5,
        }
    ) == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 2},
        "output_tokens": 0,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 3,
        "cost": 0.5,
    }
    assert usage("many") is None
    assert usage({"prompt_tokens": "a", "prompt_tokens_details": 1})["input_tokens_details"] == {"cached_tokens": 0}
    assert made(answer(content="yes", usage=None))["usage"] is None


def test_nothing_comes_behind_the_end():
    taken = Answer(ASKED)
    assert [event["type"] for event in taken.end()] == ["response.created", "response.in_progress", "response.failed"]
    assert list(taken.end()) == []
