import pytest

from proxy.probing.answers import Answer
from tests.unit.probing.driving import LOST, TEXT, chat, drive, error, plain

DETAIL = plain({"detail": "Server is pinned to 'smollm2-hf'; requested 'x'."}, 400)
CRASH = Answer(500, TEXT, b"Internal Server Error")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [(chat("x"), "ignored"), (plain({"detail": "Unexpected fields in the request: {'foo'}"}, 422), "rejected")],
)
def test_an_unknown_parameter_is_ignored_or_rejected(answer, verdict):
    assert drive("chat.unknown_parameter", answer).verdict == verdict


def test_an_unknown_model_is_rejected_or_not():
    driven = drive("chat.unknown_model", chat("x", model="smollm2"))
    assert (driven.verdict, driven.evidence) == (
        "ignored",
        "asked 'evalside-probe-no-such-model', answered as smollm2",
    )
    assert drive("chat.unknown_model", DETAIL).verdict == "rejected"


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (error(400), "supported"),
        (error(422), "supported"),
        (CRASH, "wrong"),
        (chat("x"), "wrong"),
        (LOST, "unknown"),
        (error(503), "unknown"),
    ],
)
def test_a_broken_request_is_the_clients_mistake(answer, verdict):
    driven = drive("chat.invalid_request", answer)
    assert driven.verdict == verdict
    assert driven.body() == {"model": "m"}


@pytest.mark.parametrize(
    ("answers", "verdict"),
    [
        ([error(400)], "supported"),
        ([chat("x"), error(404)], "supported"),
        ([CRASH, DETAIL], "wrong"),  # transformers serve
        ([plain({"object": "error", "message": "x"}, 400)], "wrong"),
        ([plain({"error": "x"}, 400)], "wrong"),
        ([CRASH, CRASH, CRASH], "wrong"),
        ([chat("x"), chat("x"), chat("x")], "unknown"),
        ([LOST], "unknown"),
    ],
)
def test_errors_have_a_shape(answers, verdict):
    assert drive("chat.error_shape", *answers).verdict == verdict


def test_an_error_of_another_shape_is_shown():
    assert drive("chat.error_shape", CRASH, CRASH, CRASH).evidence == "500 text/plain: Internal Server Error"
    assert drive("chat.error_shape", DETAIL).evidence.startswith('400 {"detail":"Server is pinned')
