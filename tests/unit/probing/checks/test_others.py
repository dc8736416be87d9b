import pytest

from proxy.probing.answers import Answer
from tests.unit.probing.driving import EVENTS, drive, error, plain

STREAM = Answer(200, EVENTS, b"data: {}\n\n")


@pytest.mark.parametrize(
    ("name", "answer", "verdict"),
    [
        ("embeddings", plain({"data": [{"embedding": [0.1, 0.2]}]}), "supported"),
        ("embeddings", plain({"data": [{"embedding": []}]}), "wrong"),
        ("embeddings", plain({"data": []}), "wrong"),
        ("embeddings", error(501, "This server does not support embeddings."), "rejected"),
        ("responses", plain({"output": [{"type": "message"}], "status": "completed"}), "supported"),
        ("responses", plain({"output": []}), "wrong"),
        ("responses", STREAM, "wrong"),  # transformers serve
        ("messages", plain({"content": [{"type": "text"}], "stop_reason": "max_tokens"}), "supported"),
        ("messages", plain({"content": "x"}), "wrong"),
        ("messages", error(404), "rejected"),
    ],
)
def test_a_route_answers_in_its_form(name, answer, verdict):
    assert drive(f"{name}.works", answer).verdict == verdict
