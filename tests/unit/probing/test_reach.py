import pytest

from proxy.probing.answers import Answer
from proxy.probing.reach import Unreachable, check_address, reach
from tests.unit.probing.driving import TEXT, chat, error, plain

URL = "http://h:1/v1"


def reached(answer, model=None, has_key=False):
    steps = reach(URL, model, has_key=has_key)
    assert next(steps).path == b"/v1/models"
    with pytest.raises(StopIteration) as caught:
        steps.send(answer)
    return caught.value.value


def test_the_first_listed_model_is_asked_unless_one_is_named():
    models = plain({"object": "list", "data": [{"id": "a"}, {"id": "b"}, {"no": 1}]})
    assert reached(models) == ("a", ["b"])
    assert reached(models, "b") == ("b", ["a"])
    assert reached(models, "lora") == ("lora", ["a", "b"])


def test_a_server_without_a_list_can_be_asked_all_the_same():
    assert reached(Answer(500, TEXT, b"Internal Server Error")) == (None, [])
    assert reached(error(404), "m") == ("m", [])


@pytest.mark.parametrize(
    ("answer", "has_key", "message"),
    [
        (Answer(failure="no connection to x"), False, "^no connection to x$"),
        (error(401, "who"), False, "401: who; it asks for a key; put it into a variable .*--api-key-name"),
        (error(403, "not you"), True, "403: not you; the key is not accepted; check the variable"),
        (error(503, "Loading model"), False, "is not ready: 503: Loading model; it may still be loading"),
        (error(429, "slow down"), False, "429: slow down; it lets nobody in now, try again later"),
    ],
)
def test_what_cannot_be_probed_says_why_and_the_way_out(answer, has_key, message):
    with pytest.raises(Unreachable, match=message):
        reached(answer, has_key=has_key)


def test_a_wrong_address_is_seen_when_nothing_is_there():
    with pytest.raises(Unreachable, match="nothing OpenAI-compatible at http://h:1/v1"):
        check_address(URL, [error(404), error(404), error(405)], has_key=False)
    check_address(URL, [error(404), chat("x"), error(404)], has_key=False)


def test_a_route_that_wants_a_key_is_seen_though_the_list_is_open():
    with pytest.raises(Unreachable, match="it asks for a key"):
        check_address(URL, [plain({"data": []}), error(401)], has_key=False)
