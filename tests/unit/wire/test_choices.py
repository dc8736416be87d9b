import json

import pytest

from proxy.wire import choices
from proxy.wire.fold_choices import COMPLETIONS
from proxy.wire.skim import document


def choice(reason, **more):
    return {"text": "x", "finish_reason": reason, **more}


def plain(*listed, **request):
    return told({"choices": list(listed)}, streamed=False).complete(request)


def streamed(*listed):
    return told(*({"choices": [item]} for item in listed), streamed=True).complete({})


def told(*documents, streamed):
    return choices.told((document(json.dumps(item).encode()) for item in documents), COMPLETIONS, streamed=streamed)


@pytest.mark.parametrize(
    ("prompt", "count"),
    [
        ("text", 1),
        ([1, 2, 3], 1),
        (["a", "b"], 2),
        ([[1], [2, 3], [4]], 3),
        ([{"prompt_string": "a"}, {"prompt_string": "b"}], 2),
        ([], 1),
        (None, 1),
    ],
)
def test_how_many_prompts_are_asked_at_once(prompt, count):
    assert choices.prompts({"prompt": prompt}) == count


@pytest.mark.parametrize(
    ("request_", "count"),
    [({}, 1), ({"n": None}, 1), ({"n": 1}, 1), ({"n": 3}, 3), ({"n": 2, "prompt": ["a", "b"]}, 4), ({"n": True}, 1)],
)
def test_every_choice_that_was_asked_for_has_to_come(request_, count):
    for came in range(6):
        assert choices.finished(dict.fromkeys(range(came), "stop"), request_) is (came == count)


@pytest.mark.parametrize("reason", sorted(choices.FINISHED))
def test_reasons_of_a_choice_that_ran_to_its_end(reason):
    assert plain(choice(reason))
    assert streamed(choice(reason))


@pytest.mark.parametrize("reason", [None, "", "content_filter", "abort", "error", "unknown", 1, ["stop"]])
def test_any_other_reason_is_not_an_end(reason):
    assert not plain(choice(reason, index=0))
    assert not streamed(choice(reason, index=0))


def test_choices_may_come_in_any_order_and_without_an_index():
    assert plain(choice("stop"), choice("length"), n=2)
    assert plain(*(choice("stop", index=index) for index in (1, 0)), n=2)


def test_a_reason_may_be_followed_by_chunks_without_one_but_never_take_back_a_bad_one():
    stop, nothing, bad = choice("stop"), choice(None), choice("content_filter")
    assert streamed(nothing, stop, nothing)
    assert not streamed(bad, stop)


@pytest.mark.parametrize("depth", [1, 900, 5000])  # the last is more than any JSON codec reads
def test_results_of_a_filter_are_read_however_deep_they_are(depth):
    deep = b"[" * depth + b'{"filtered": true}' + b"]" * depth
    answer = b'{"choices": [{"text": "x", "finish_reason": "stop", "content_filter_results": ' + deep + b"}]}"
    passed, filtered = document(answer.replace(b"true", b"false")), document(answer)
    assert choices.told([passed], COMPLETIONS, streamed=False).complete({}) is (depth < 5000)
    assert not choices.told([filtered], COMPLETIONS, streamed=False).complete({})


def test_two_choices_for_one_place_are_no_plain_answer():
    assert not plain(choice(None, index=0), choice("stop", index=0))
    assert not plain(choice("stop", index=0), choice("stop", index=0))
    assert streamed(choice(None, index=0), choice("stop", index=0))


def test_what_is_said_beside_the_choices():
    found = told({"model": "m", "usage": {"a": 1}}, {"object": "error"}, {"usage": 5}, streamed=True)
    assert (found.model, found.usages, found.failed, found.sound, found.documents) == (
        "m",
        [{"a": 1}, 5],
        True,
        True,
        3,
    )
    assert not told({"choices": [{"index": [1]}]}, streamed=True).sound
    assert not choices.told([None], COMPLETIONS, streamed=True).sound
