import pytest

from proxy.plugins import plan
from proxy.settings import ConfigError, InterceptorSpec
from tests.unit.interceptors.alone import REQUEST, ask, events

TEMPLATE = (
    "{% for message in messages %}{{ message.role }}: {{ message.content }}{{ eos_token }}\n{% endfor %}assistant:"
)
OPTIONS = {"chat_template": TEMPLATE, "eos_token": "</s>", "default_max_tokens": 9}
COMPLETION = {
    "id": "cmpl-1",
    "object": "text_completion",
    "choices": [{"index": 0, "text": " yes", "finish_reason": "stop"}],
}


async def asked_with(options, **fields):
    return await ask("chat_to_completions", options, request={**REQUEST, **fields}, answer=COMPLETION)


async def test_a_chat_is_asked_of_completions():
    asked = await asked_with(OPTIONS)
    assert asked.sent == {"model": "m", "prompt": "user: hello</s>\nassistant:", "max_tokens": 9}
    assert asked.exchange.request.path == b"/v1/completions"
    assert asked.json == {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": " yes"},
                "logprobs": None,
            }
        ],
    }


async def test_a_stream_is_one_of_the_chat():
    stream = events(COMPLETION)
    asked = await ask("chat_to_completions", OPTIONS, request={**REQUEST, "stream": True}, answer=stream, size=3)
    assert asked.documents[0]["object"] == "chat.completion.chunk"
    assert asked.body.endswith(b"data: [DONE]\n\n")


async def test_as_many_alternatives_come_back_as_were_asked_for():
    scored = {"tokens": ["a"], "token_logprobs": [-1], "top_logprobs": [{"a": -1}]}
    reply = {"choices": [{"index": 0, "text": "a", "logprobs": scored, "finish_reason": "stop"}]}
    asked = await ask("chat_to_completions", OPTIONS, request={**REQUEST, "logprobs": True}, answer=reply)
    assert asked.sent["logprobs"] == 1
    assert asked.json["choices"][0]["logprobs"]["content"][0]["top_logprobs"] == []


async def test_the_template_may_be_in_a_file(tmp_path):
    path = tmp_path / "chat.jinja"
    path.write_text("{{ messages[0].content }}{{ bos_token }}é", encoding="utf-8")
    options = {"chat_template_file": str(path), "bos_token": "<s>", "default_max_tokens": 1}
    assert (await asked_with(options)).sent["prompt"] == "hello<s>é"


async def test_a_template_that_cannot_be_used_is_told_at_startup(tmp_path):
    with pytest.raises(ConfigError, match="the chat template is not one: line 1"):
        await asked_with({"chat_template": "{% if %}"})
    with pytest.raises(ConfigError, match=r"chat_template_file '.*none' cannot be read"):
        await asked_with({"chat_template_file": str(tmp_path / "none")})
    (tmp_path / "latin").write_bytes(b"\xe9")
    with pytest.raises(ConfigError, match="cannot be read"):
        await asked_with({"chat_template_file": str(tmp_path / "latin")})


@pytest.mark.parametrize("options", [{}, {"chat_template": "a", "chat_template_file": "b"}])
def test_there_is_one_template(options):
    with pytest.raises(ConfigError, match="set either 'chat_template' or 'chat_template_file'"):
        plan([InterceptorSpec(name="chat_to_completions", config=options)])


async def test_other_routes_are_left_alone():
    asked = await ask("chat_to_completions", OPTIONS, request={"prompt": "a"}, answer=COMPLETION, route="completions")
    assert (asked.json, asked.changes) == (COMPLETION, [])


def test_its_opposite_cannot_be_listed_beside_it():
    specs = [
        InterceptorSpec(name="chat_to_completions", config=OPTIONS),
        InterceptorSpec(name="completions_to_chat", config={"user_template": "{{ prompt }}"}),
    ]
    with pytest.raises(ConfigError, match="chat_to_completions and completions_to_chat undo each other; keep the one"):
        plan(specs)
