import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.testing import tokenizer


@given(st.text())
def test_decoding_inverts_encoding(text):
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) == len(tokenizer.split(text))
    assert "".join(tokenizer.split(text)) == text


@given(st.integers(0, tokenizer.VOCABULARY_SIZE - 1))
def test_every_id_in_range_is_text_that_utf8_can_hold(number):
    assert tokenizer.token_text(number).encode() is not None


def test_words_are_cut_into_pieces_with_the_space_before_them():
    assert tokenizer.split("Hello big 12 é\n") == ["Hell", "o", " big", " ", "1", "2", " ", "é", "\n"]


def test_ids_are_the_same_in_every_process():
    assert tokenizer.encode("a b") == [1114113, 9004595]
    assert tokenizer.encode("é") == [233]


def test_a_lone_surrogate_becomes_a_replacement_character():
    assert tokenizer.decode([0xD800]) == "\ufffd"


@pytest.mark.parametrize("number", [-1, tokenizer.VOCABULARY_SIZE])
def test_an_id_out_of_range_is_an_error(number):
    with pytest.raises(ValueError, match="out of vocabulary"):
        tokenizer.decode([number])
