import pytest

from proxy.testing import tokenizer

TEXT = "The sky is"
IDS = tokenizer.encode(TEXT)


@pytest.fixture
def complete(post):
    def complete(**fields):
        answer = post("/v1/completions", {"model": "m", "temperature": 0, "max_tokens": 4, **fields})
        assert answer.status_code == 200, answer.text
        return answer.json()

    return complete


def texts(answer):
    return [choice["text"] for choice in answer["choices"]]


def test_the_four_forms_of_a_prompt_say_the_same(complete):
    one = texts(complete(prompt=TEXT))
    assert texts(complete(prompt=IDS)) == texts(complete(prompt=[TEXT])) == texts(complete(prompt=[IDS])) == one
    assert texts(complete(prompt=[IDS, IDS])) == one * 2


def test_choices_are_numbered_by_prompt_and_usage_is_summed(complete):
    answer = complete(prompt=["a", "b"], n=2, temperature=1, seed=3, logprobs=0)
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2, 3]
    assert len(set(texts(answer))) == 4
    assert answer["usage"]["prompt_tokens"] == 2
    assert answer["usage"]["completion_tokens"] == sum(len(c["logprobs"]["tokens"]) for c in answer["choices"])


def test_the_default_limit_is_16_tokens(complete):
    answer = complete(prompt="x", max_tokens=None, ignore_eos=True)
    assert answer["usage"]["completion_tokens"] == 16


def test_echo_with_logprobs_scores_the_prompt(complete):
    [choice] = complete(prompt=[IDS], echo=True, logprobs=1, max_tokens=1)["choices"]
    logprobs = choice["logprobs"]
    assert choice["text"].startswith(TEXT)
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert len(logprobs["tokens"]) == len(IDS) + 1
    assert logprobs["text_offset"] == [len("".join(logprobs["tokens"][:i])) for i in range(len(IDS) + 1)]
    assert (logprobs["token_logprobs"][0], logprobs["top_logprobs"][0]) == (None, None)
    assert all(logprob < 0 for logprob in logprobs["token_logprobs"][1:])


def test_echo_with_no_tokens_is_the_prompt_alone(complete):
    answer = complete(prompt=TEXT, echo=True, logprobs=1, max_tokens=0)
    [choice] = answer["choices"]
    assert (choice["text"], choice["finish_reason"]) == (TEXT, "length")
    assert choice["logprobs"]["tokens"] == tokenizer.split(TEXT)
    assert answer["usage"]["completion_tokens"] == 0


def test_logprobs_are_null_unless_asked_for(complete):
    assert complete(prompt=TEXT)["choices"][0]["logprobs"] is None
    assert complete(prompt=TEXT, logprobs=None)["choices"][0]["logprobs"] is None


def test_the_same_prompt_scores_the_same_as_text_and_ids(complete):
    scored = [complete(prompt=p, echo=True, logprobs=2)["choices"][0]["logprobs"] for p in (TEXT, IDS)]
    assert scored[0] == scored[1]


@pytest.mark.parametrize("echo", [False, True])
def test_a_stream_says_what_the_plain_answer_says(sdk, echo):
    fields = {"model": "m", "prompt": ["a b", "c d"], "temperature": 0, "logprobs": 2, "echo": echo, "max_tokens": 3}
    plain = sdk.completions.create(**fields)
    chunks = list(sdk.completions.create(stream=True, stream_options={"include_usage": True}, **fields))
    for index, choice in enumerate(plain.choices):
        parts = [part for chunk in chunks for part in chunk.choices if part.index == index]
        assert "".join(part.text for part in parts) == choice.text
        for field in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
            joined = [item for part in parts if part.logprobs for item in getattr(part.logprobs, field)]
            assert joined == getattr(choice.logprobs, field)
        assert [part.finish_reason for part in parts if part.finish_reason] == ["length"]
    assert chunks[-1].usage == plain.usage


@pytest.mark.parametrize("prompt", [None, [], 5, [1, "x"], ["x", 1], [[1, "x"]], [10**9], [True]])
def test_other_prompts_are_refused(post, prompt):
    answer = post("/v1/completions", {"prompt": prompt})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "prompt")
