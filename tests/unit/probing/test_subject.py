import json

from proxy.probing.subject import MAX_COMPLETION_TOKENS, Subject


def body(ask):
    return json.loads(ask.body)


def test_a_chat_is_asked_with_messages_and_completions_with_a_prompt():
    chat, completions = Subject("chat", "m"), Subject("completions", "m")
    assert chat.ask().path == b"/v1/chat/completions"
    assert body(chat.ask("x", seed=1)) == {
        "model": "m", "messages": [{"role": "user", "content": "x"}], "max_tokens": 12, "seed": 1,
    }  # fmt: skip
    assert body(completions.ask("x", tokens=None)) == {"model": "m", "prompt": "x"}
    assert body(completions.ask())["prompt"] == completions.story


def test_the_limit_has_the_name_that_the_server_takes():
    assert body(Subject("chat", limit=MAX_COMPLETION_TOKENS).ask("x", tokens=3))["max_completion_tokens"] == 3


def test_without_a_model_none_is_named():
    assert "model" not in body(Subject("chat").ask())
    assert body(Subject("chat", "m").ask(model="other"))["model"] == "other"


def test_equal_requests_are_equal_and_takes_are_not():
    subject = Subject("chat", "m")
    assert subject.ask() == subject.ask()
    assert subject.ask() != subject.ask(take=1)
    assert subject.ask().body == subject.ask(take=1).body
