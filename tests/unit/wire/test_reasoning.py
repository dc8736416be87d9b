import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.wire.reasoning import Splitter, Tokens

DEFAULT = Tokens()
UNKNOWN_START = Tokens(start=None)
MOVE_UNFINISHED = Tokens(keep_unfinished=False)
START_ONLY = Tokens(require_start=True)

PIECES = st.lists(st.sampled_from(["<think>", "</think>", "<th", "ink>", "\n", " ", "a", "é", "</"]), max_size=12).map(
    "".join
)
ALL = [DEFAULT, UNKNOWN_START, MOVE_UNFINISHED, START_ONLY, START_ONLY._replace(keep_unfinished=False)]


def parts(tokens: Tokens, *pieces: str) -> tuple[str, str]:
    splitter = Splitter(tokens)
    found = [*map(splitter.feed, pieces), splitter.finish()]
    return "".join(part.reasoning for part in found), "".join(part.content for part in found)


@given(st.data(), PIECES, st.sampled_from(ALL))
def test_any_split_gives_the_parts_of_the_whole(data, text, tokens):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=6)))
    pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    assert parts(tokens, *pieces) == parts(tokens, text)


@given(PIECES, st.sampled_from(ALL))
def test_only_tokens_and_newlines_are_lost(text, tokens):
    reasoning, content = parts(tokens, text)
    for lost in ("<think>", "</think>", "\n"):
        text, reasoning, content = text.replace(lost, ""), reasoning.replace(lost, ""), content.replace(lost, "")
    assert sorted(reasoning + content) == sorted(text)


@pytest.mark.parametrize(
    ("tokens", "text", "expected"),
    [
        (DEFAULT, "42", ("", "42")),
        (DEFAULT, "", ("", "")),
        (DEFAULT, "<think>\nhm\n</think>\n\n42\n", ("hm", "42\n")),
        (DEFAULT, "hm</think>42", ("hm", "42")),
        (DEFAULT, "so <think>hm</think>42", ("so hm", "42")),
        (DEFAULT, "<think>a</think>b</think>c", ("a", "b</think>c")),
        (DEFAULT, "a</think>b<think>c</think>d", ("a", "b<think>c</think>d")),
        (DEFAULT, "<think>never done", ("", "<think>never done")),
        (MOVE_UNFINISHED, "<think>never done\n", ("never done\n", "")),
        (MOVE_UNFINISHED, "42", ("", "42")),
        (UNKNOWN_START, "hm</think>42", ("hm", "42")),
        (UNKNOWN_START, "<think>hm</think>42", ("<think>hm", "42")),
        (START_ONLY, " <think>hm</think>42", (" hm", "42")),
        (START_ONLY, "hm</think>42", ("", "hm</think>42")),
        (START_ONLY, "so <think>hm</think>42", ("", "so <think>hm</think>42")),
        (START_ONLY, " <thi", ("", " <thi")),
    ],
)
def test_what_is_reasoning(tokens, text, expected):
    assert parts(tokens, text) == expected


def test_reasoning_that_may_not_stay_in_the_text_is_passed_on_as_it_comes():
    splitter = Splitter(MOVE_UNFINISHED)
    assert splitter.feed("<think>a") == ("a", "")
    assert splitter.feed("b</th") == ("b", "")
    assert splitter.feed("ink>c") == ("", "c")


def test_a_text_that_does_not_begin_with_the_token_is_passed_on_at_once():
    splitter = Splitter(START_ONLY)
    assert splitter.feed("<") == ("", "")
    assert splitter.feed("b") == ("", "<b")
    assert splitter.feed("c") == ("", "c")
