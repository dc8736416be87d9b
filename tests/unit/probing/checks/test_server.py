import pytest

from proxy.probing.answers import Answer
from tests.unit.probing.driving import LOST, TEXT, drive, error, plain


def test_one_health_route_is_enough():
    assert drive("server.health", plain({"status": "ok"})).evidence == '/health: 200 {"status": "ok"}'
    driven = drive("server.health", error(404), Answer(200, TEXT, b""))
    assert driven.verdict == "supported"
    assert [ask.path for ask in driven.asks] == [b"/health", b"/v1/triton_health"]


def test_no_health_route_is_told():
    driven = drive("server.health", error(404), LOST)
    assert (driven.verdict, driven.evidence) == ("rejected", "/health: 404: no; /v1/triton_health: not answered")


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        (plain({"data": [{"id": "a"}]}), "supported"),
        (plain({"data": []}), "wrong"),
        (Answer(500, TEXT, b"Internal Server Error"), "rejected"),
    ],
)
def test_models_are_listed(answer, verdict):
    assert drive("server.models", answer).verdict == verdict


def test_what_else_the_list_has_is_told():
    listed = plain({"object": "list", "models": [{"name": "a"}], "data": [{"id": "a"}, {"id": "b"}]})  # llama.cpp
    assert drive("server.models", listed).evidence == "a, b; also models"
    assert drive("server.models", plain({"data": [{"id": "a"}]})).evidence == "a"


def test_one_model_is_told():
    driven = drive("server.model_by_id", plain({"id": "a/b c"}), model="a/b c")
    assert (driven.verdict, driven.asks[0].path) == ("supported", b"/v1/models/a/b%20c")
    assert drive("server.model_by_id", error(404, "File Not Found")).verdict == "rejected"
    assert drive("server.model_by_id", model=None).verdict == "unknown"
