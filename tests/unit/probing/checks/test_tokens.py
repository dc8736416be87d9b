import pytest

from tests.unit.probing.driving import chat, drive, error, plain

BOS = plain({"bos_token": "<s>"})
NONE = plain({"tokens": []})


def ids(*tokens):
    return plain({"tokens": list(tokens)})


@pytest.mark.parametrize("name", ["prompt", "messages", "content"])
@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(ids(28120, 905), "supported"), (NONE, "wrong"), (error(404), "rejected"), (plain({"a": 1}), "wrong")],
)
def test_a_text_has_tokens(name, answer, verdict):
    driven = drive(f"tokenize.{name}", answer)
    assert driven.verdict == verdict
    assert driven.asks[0].path == b"/tokenize"
    assert driven.body().keys() == {"model", name}


def test_no_model_is_named_where_none_is_known():
    assert drive("tokenize.content", NONE, model=None).body().keys() == {"content"}


@pytest.mark.parametrize(
    ("answer", "verdict"), [(plain({"tokenizer_class": "x"}), "supported"), (error(404), "rejected")]
)
def test_the_tokenizer_is_described(answer, verdict):
    assert drive("tokenize.tokenizer_info", answer).verdict == verdict


@pytest.mark.parametrize(("tokens", "verdict"), [((1, 5, 6), "supported"), ((1, 1, 5), "wrong"), ((1,), "supported")])
def test_a_rendered_prompt_gets_no_second_bos(tokens, verdict):
    driven = drive("completions.single_bos", BOS, ids(5, 6), ids(*tokens))
    assert driven.verdict == verdict
    assert driven.body() == {"model": "m", "prompt": "<s>hello world", "add_special_tokens": True}


def test_it_is_asked_in_llamacpps_form_where_that_is_the_one():
    driven = drive("completions.single_bos", error(404), BOS, NONE, ids(5, 6), ids(1, 1, 5))
    assert driven.verdict == "wrong"
    assert driven.body() == {"model": "m", "content": "<s>hello world", "add_special": True}


@pytest.mark.parametrize("answers", [[error(404), error(404)], [BOS, NONE, NONE], [BOS, ids("a"), error(404)]])
def test_a_server_that_tells_too_little_is_unknown(answers):
    assert drive("completions.single_bos", *answers).verdict == "unknown"


def test_a_chat_in_vllms_form():
    assert drive("chat.single_bos", ids(1, 5, 6)).verdict == "supported"
    assert drive("chat.single_bos", ids(1, 1, 5)).verdict == "wrong"


@pytest.mark.parametrize(
    ("rendered", "count", "verdict"),
    [
        ("<s>hello", 2, "supported"),
        ("<s>hello", 3, "wrong"),
        ("hello", 3, "supported"),
        ("hello", 9, "unknown"),
    ],
)
def test_a_chat_in_llamacpps_form(rendered, count, verdict):
    answers = [NONE, BOS, NONE, ids(5, 6), plain({"prompt": rendered}), ids(1, 5), chat("x", prompt=count)]
    driven = drive("chat.single_bos", *answers)
    assert driven.verdict == verdict, driven.evidence
    assert driven.body(5) == {"model": "m", "content": rendered, "add_special": False}


def test_a_chat_whose_template_nobody_tells():
    assert drive("chat.single_bos", NONE, BOS, ids(5, 6), error(404)).verdict == "unknown"
