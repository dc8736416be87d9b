import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.errors import AnswerNotEditable
from proxy.wire.bridges.logprobs import as_chat, as_completion
from tests.unit.wire.bridges.chats import UNHURRIED

SCORES = st.floats(-9, 0)
TOKENS = st.sampled_from(["a", " é", "😀", "\u2028", ""])


def entry(token, logprob, top=()):
    ranked = [{"token": name, "logprob": score, "bytes": list(name.encode())} for name, score in top]
    return {"token": token, "logprob": logprob, "bytes": list(token.encode()), "top_logprobs": ranked}


@UNHURRIED
@given(st.lists(st.tuples(TOKENS, SCORES, st.dictionaries(TOKENS, SCORES, max_size=3)), max_size=4))
def test_there_and_back_is_the_same(items):
    content = [
        entry(token, score, sorted(top.items(), key=lambda item: item[1], reverse=True)) for token, score, top in items
    ]
    assert as_chat(as_completion({"content": content}, 0), 3) == {"content": content, "refusal": None}


def test_offsets_count_the_text_from_where_it_was():
    assert as_completion({"content": [entry("ab", -1.0), entry("c", -2.0)]}, 5) == {
        "tokens": ["ab", "c"],
        "token_logprobs": [-1.0, -2.0],
        "top_logprobs": [{}, {}],
        "text_offset": [5, 7],
    }


def test_a_part_of_a_character_is_written_by_its_bytes():
    part = {"token": "\ufffd", "logprob": -1.0, "bytes": [0xF0, 0x9F], "top_logprobs": []}
    shaped = as_completion({"content": [part]}, 0)
    assert shaped["tokens"] == [r"bytes:\xf0\x9f"]
    [back] = as_chat(shaped, 0)["content"]
    assert (back["bytes"], back["token"]) == ([0xF0, 0x9F], r"bytes:\xf0\x9f")
    assert as_completion({"content": [back]}, 0)["tokens"] == [r"bytes:\xf0\x9f"]


def test_bytes_that_are_not_known_are_null():
    [made] = as_chat({"tokens": ["\ufffd"], "token_logprobs": [-1.0]}, 0)["content"]
    assert made == {"token": "\ufffd", "logprob": -1.0, "bytes": None, "top_logprobs": []}
    assert as_completion({"content": [{"token": "\ufffd", "logprob": 0}]}, 0)["tokens"] == ["\ufffd"]


def test_only_as_many_alternatives_as_were_asked_for_best_first():
    shaped = {"tokens": ["a"], "token_logprobs": [-3.0], "top_logprobs": [{"a": -3.0, "b": -1.0, "c": -2.0}]}
    assert [item["token"] for item in as_chat(shaped, 2)["content"][0]["top_logprobs"]] == ["b", "c"]
    assert as_chat(shaped, 0)["content"][0]["top_logprobs"] == []
    assert as_chat({**shaped, "top_logprobs": [None]}, 2)["content"][0]["top_logprobs"] == []


@pytest.mark.parametrize(
    "shaped",
    [
        {},
        {"tokens": ["a"], "token_logprobs": []},
        {"tokens": ["a"], "token_logprobs": None},
        {"tokens": ["a"], "token_logprobs": [0], "top_logprobs": [{}, {}]},
        {"tokens": ["a"], "token_logprobs": [0], "top_logprobs": {"a": 0}},
        {"tokens": ["a"], "token_logprobs": [0], "top_logprobs": [["a"]]},
        {"tokens": ["a"], "token_logprobs": [0], "top_logprobs": [{"a": None}]},
    ],
)
def test_lists_of_different_lengths_are_an_error(shaped):
    with pytest.raises(AnswerNotEditable):
        as_chat(shaped, 1)


@pytest.mark.parametrize("shaped", [{}, {"content": ["a"]}, {"tokens": ["a"]}])
def test_a_chat_has_a_list_of_tokens(shaped):
    with pytest.raises(AnswerNotEditable, match="no list of tokens"):
        as_completion(shaped, 0)


@pytest.mark.parametrize(
    "odd", [{"top_logprobs": True}, {"top_logprobs": ["a"]}, {"bytes": "a"}, {"bytes": [256]}, {"bytes": ["a"]}]
)
def test_tokens_of_another_form_are_an_error(odd):
    with pytest.raises(AnswerNotEditable):
        as_completion({"content": [{"token": "a", "logprob": -1.0, **odd}]}, 0)


def test_two_alternatives_with_one_text_are_an_error():
    with pytest.raises(AnswerNotEditable, match="have the same text"):
        as_completion({"content": [entry("a", -1.0, [("b", -1.0), ("b", -2.0)])]}, 0)
