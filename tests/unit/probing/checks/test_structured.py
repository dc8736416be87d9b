import pytest

from tests.unit.probing.driving import chat, drive, error, plain


def calling(name="get_weather", arguments='{"city":"Paris"}', finish="tool_calls"):
    document = chat("", finish=finish).fields
    call = {"id": "1", "type": "function", "function": {"name": name, "arguments": arguments}}
    document["choices"][0]["message"]["tool_calls"] = [call]
    return plain(document)


@pytest.mark.parametrize("name", ["tools", "tool_choice"])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (calling(), "supported"),
        (chat("Paris is sunny"), "ignored"),
        (chat('<tool_call>{"name": "get_weather"}</tool_call>'), "wrong"),
        (calling(arguments='{"city":'), "wrong"),
        (calling(arguments='{"city":', finish="length"), "unknown"),
        (calling(name="other"), "wrong"),
        (calling(arguments={"city": "Paris"}), "wrong"),
        (chat(), "ignored"),
        (error(400, '"auto" tool choice requires --enable-auto-tool-choice'), "rejected"),
    ],
)
def test_a_tool_is_called(name, answer, verdict):
    assert drive(f"chat.{name}", answer).verdict == verdict


def test_the_call_may_be_required():
    assert drive("chat.tools", calling()).body()["tool_choice"] == "auto"
    assert drive("chat.tool_choice", calling()).body()["tool_choice"] == "required"


def test_a_function_that_is_none_is_wrong():
    document = calling().fields
    document["choices"][0]["message"]["tool_calls"] = [{"function": "get_weather"}]
    assert drive("chat.tools", plain(document)).verdict == "wrong"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (chat('{"color": "red"}', finish="stop"), "supported"),
        (chat('{"color": "green"}', finish="stop"), "ignored"),
        (chat('{"color": "red", "more": 1}', finish="stop"), "ignored"),
        (chat("The air was alive"), "ignored"),
        (chat('{"col'), "unknown"),
        (chat('{"col', finish="stop"), "ignored"),
        (chat(), "ignored"),
        (error(400), "rejected"),
    ],
)
def test_an_answer_fits_the_schema(answer, verdict):
    assert drive("chat.json_schema", answer).verdict == verdict


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(chat('{"a": 1}', finish="stop"), "supported"), (chat("[1]", finish="stop"), "ignored"), (chat(), "ignored")],
)
def test_an_answer_is_an_object(answer, verdict):
    driven = drive("chat.json_object", answer)
    assert driven.verdict == verdict
    assert "JSON" in driven.body()["messages"][0]["content"]


def test_a_model_that_reasons_gets_more_room():
    thinking = chat("").fields
    thinking["choices"][0]["message"]["reasoning_content"] = "Hm"
    driven = drive("chat.json_object", plain(thinking), chat('{"a": 1}', finish="stop"))
    assert driven.verdict == "supported"
    assert [driven.body(index)["max_tokens"] for index in (0, 1)] == [64, 1024]
