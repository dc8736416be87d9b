from typing import Any

import pytest

from proxy.core.errors import NotCarried
from proxy.wire.bridges.prompt_request import prompt_request
from proxy.wire.bridges.template import strict_template


def converted(template="{{ prompt }}", default: int | None = 16, strict=False, **fields: Any):
    return prompt_request({"prompt": "2+2=", **fields}, strict_template(template), default, strict=strict)


def chat(**fields: Any) -> dict[str, Any]:
    return converted(**fields)[0]


def test_the_prompt_is_one_message_and_the_rest_goes_as_it_is():
    given: dict[str, Any] = {
        "model": "m",
        "max_tokens": 3,
        "temperature": 0,
        "n": 2,
        "stop": "x",
        "stream": True,
        "user": "u",
        "top_k": 1,
    }
    assert converted(strict=True, **given) == ({**given, "messages": [{"role": "user", "content": "2+2="}]}, [])


def test_the_template_is_put_around_it():
    assert chat(template="Go on:\n{{ prompt }}")["messages"][0]["content"] == "Go on:\n2+2="
    assert chat(prompt=["a\n"])["messages"][0]["content"] == "a\n"


def test_a_missing_limit_is_filled_in():
    assert chat()["max_tokens"] == 16
    assert chat(max_tokens=None)["max_tokens"] == 16
    assert "max_tokens" not in chat(default=None)


def test_logprobs_are_asked_for_as_a_chat_does():
    assert {"logprobs": True, "top_logprobs": 2}.items() <= chat(logprobs=2).items()
    assert {"logprobs": True, "top_logprobs": 0}.items() <= chat(logprobs=0).items()
    for value in (None, False):
        assert "logprobs" not in chat(logprobs=value)


@pytest.mark.parametrize("fields", [{"best_of": 1}, {"best_of": 2, "n": 2}, {"echo": False}, {"suffix": None}])
def test_what_asks_for_nothing_is_no_loss(fields):
    assert converted(strict=True, **fields)[1] == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("prompt", ["a", "b"]),
        ("prompt", [1, 2]),
        ("prompt", None),
        ("echo", True),
        ("suffix", "x"),
        ("best_of", 2),
        ("messages", [{}]),
        ("tools", [{}]),
        ("top_logprobs", 1),
    ],
)
def test_what_would_change_the_answer_is_refused_by_name(name, value):
    with pytest.raises(NotCarried, match=rf"cannot carry over {name}\b.*; send the request without, or ask"):
        converted(**{name: value})


def test_a_template_that_does_not_take_the_prompt_is_the_reason():
    with pytest.raises(NotCarried, match=r"prompt \(the template does not take it: 'promt' is undefined\)"):
        converted(template="{{ promt }}")
