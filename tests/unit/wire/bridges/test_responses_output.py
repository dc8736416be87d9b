import pytest

from proxy.core.errors import AnswerNotEditable
from proxy.wire.bridges.responses_output import CONTENT, REASONING, REFUSAL, Output


def kinds(events) -> list[str]:
    return [event["type"].removeprefix("response.") for event in events]


def test_an_item_ends_where_the_next_begins():
    output = Output("1")
    events = [*output.say(REASONING, "hm"), *output.say(CONTENT, "a"), *output.say(CONTENT, "b")]
    events += [*output.call(0, "c0", "f"), *output.argue("{"), *output.argue(""), *output.argue("}")]
    events += output.end("completed")
    assert kinds(events) == [
        "output_item.added", "content_part.added", "reasoning_text.delta",
        "reasoning_text.done", "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.delta",
        "output_text.done", "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.delta",
        "function_call_arguments.done", "output_item.done",
    ]  # fmt: skip
    assert output.items == [
        {"id": "rs_1", "type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}],
         "status": "completed"},
        {"id": "msg_1_1", "type": "message", "role": "assistant", "status": "completed",
         "content": [{"type": "output_text", "text": "ab", "annotations": [], "logprobs": []}]},
        {"id": "fc_1_2", "type": "function_call", "call_id": "c0", "name": "f", "arguments": "{}",
         "status": "completed"},
    ]  # fmt: skip
    assert [event["output_index"] for event in events] == [0] * 6 + [1] * 7 + [2] * 5


def test_what_began_is_empty_and_in_progress():
    [added, part, delta] = Output("1").say(CONTENT, "a")
    assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
    assert part["part"] == {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    assert delta["delta"] == "a"


def test_a_refusal_is_a_part_of_the_message():
    output = Output("1")
    events = [*output.say(CONTENT, "a"), *output.say(REFUSAL, "no"), *output.end("completed")]
    [item] = output.items
    assert [part["type"] for part in item["content"]] == ["output_text", "refusal"]
    assert [event["content_index"] for event in events if "content_index" in event] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert not any("logprobs" in event for event in events if "refusal" in event["type"])


def test_logprobs_come_with_the_next_text_and_are_all_in_the_part():
    output = Output("1")
    output.score([{"token": "<think>"}])
    [*_, thought] = output.say(REASONING, "hm")
    output.score([{"token": "a"}])
    [*_, first] = output.say(CONTENT, "a")
    output.score([{"token": "</s>"}])
    events = list(output.end("completed"))
    assert "logprobs" not in thought
    assert first["logprobs"] == [{"token": "<think>"}, {"token": "a"}]
    assert (events[0]["delta"], events[0]["logprobs"]) == ("", [{"token": "</s>"}])
    assert [entry["token"] for entry in output.items[1]["content"][0]["logprobs"]] == ["<think>", "a", "</s>"]
    assert not output.unplaced


def test_logprobs_without_a_text_have_no_place():
    output = Output("1")
    output.score([{"token": "{"}])
    list(output.call(0, None, "f"))
    list(output.end("completed"))
    assert output.unplaced
    assert output.items[0]["call_id"] == "call_1_0"


def test_an_answer_that_said_nothing_is_an_empty_message():
    output = Output("1")
    list(output.end("completed"))
    assert output.items[0]["content"][0]["text"] == ""


def test_only_the_last_item_is_incomplete():
    output = Output("1")
    list(output.say(REASONING, "hm"))
    list(output.say(CONTENT, "a"))
    list(output.end("incomplete"))
    assert [item["status"] for item in output.items] == ["completed", "incomplete"]


def test_a_call_cannot_go_on_behind_the_next():
    output = Output("1")
    list(output.call(0, "a", "f"))
    assert output.is_calling(0)
    list(output.call(1, "b", "g"))
    assert not output.is_calling(0)
    with pytest.raises(AnswerNotEditable, match="went on with a tool call"):
        list(output.call(0, "a", "f"))


def test_an_answer_that_breaks_off_keeps_what_came():
    output = Output("1")
    assert output.broken() == []
    list(output.call(0, "a", "f"))
    list(output.argue('{"a'))
    [item] = output.broken()
    assert (item["status"], item["arguments"]) == ("incomplete", '{"a')
    assert not Output("1").is_calling(0)
