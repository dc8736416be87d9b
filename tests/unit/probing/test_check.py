import pytest

from proxy.probing.answers import Answer, Ask
from proxy.probing.check import Decided, plain, streamed
from tests.unit.probing.driving import EVENTS, JSON, TEXT, chat, delta, error, events
from tests.unit.probing.driving import plain as document


def run(helper, answer):
    steps = helper(Ask(b"/x"))
    next(steps)
    try:
        steps.send(answer)
    except StopIteration as end:
        return end.value
    raise AssertionError("asks for more")


def refused(helper, answer):
    with pytest.raises(Decided) as caught:
        run(helper, answer)
    return caught.value.finding.verdict.value, caught.value.finding.evidence


@pytest.mark.parametrize("helper", [plain, streamed])
@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer(failure="refused"), ("unknown", "refused")),
        (error(422, "no seed"), ("rejected", "422: no seed")),
        (error(500, "crash"), ("rejected", "500: crash")),
        (error(503, "loading"), ("unknown", "503: loading")),
        (error(429, "slow"), ("unknown", "429: slow")),
        (error(200, "odd"), ("rejected", "200 with an error: odd")),
    ],
)
def test_what_is_no_answer_decides(helper, answer, expected):
    assert refused(helper, answer) == expected


def test_a_plain_answer_is_a_json_object():
    assert run(plain, chat("x")).choices
    assert refused(plain, Answer(200, TEXT, b"hello")) == ("wrong", "200 with text/plain: hello")
    assert refused(plain, Answer(200, JSON, b"[1]")) == ("wrong", "200 with application/json: [1]")
    assert refused(plain, Answer(200, EVENTS, b"data: 1\n\n")) == (
        "wrong",
        "an event stream, though none was asked for",
    )


def test_a_stream_is_one_without_errors():
    assert len(run(streamed, events(delta("a"), delta("b"))).chunks) == 2
    assert refused(streamed, document({"choices": []}))[0] == "ignored"
    assert refused(streamed, events(delta("a"), {"error": {"message": "oom"}}))[0] == "rejected"
