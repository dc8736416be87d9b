from typing import Any

import pytest

from proxy.wire.shape import PLAIN, shape_of


@pytest.mark.parametrize("document", [{}, {"stream": False}, {"stream": None}, {"stream_options": None}])
def test_a_plain_request(document):
    assert shape_of(document) == PLAIN


@pytest.mark.parametrize("options", [{}, {"stream_options": {}}, {"stream_options": None}])
def test_a_stream_without_options(options):
    assert shape_of({"stream": True, **options}) == "sse"


def test_the_order_of_stream_options_is_ignored():
    first = shape_of({"stream": True, "stream_options": {"include_usage": True, "a": 1}})
    assert first == shape_of({"stream": True, "stream_options": {"a": 1, "include_usage": True}})


def test_everything_that_can_change_what_comes_back_is_a_shape_of_its_own():
    documents: list[dict[str, Any]] = [
        {},
        {"stream": True},
        {"stream": 1},
        {"stream": "true"},
        {"stream": {"a": 1}},
        {"stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"stream": True, "stream_options": {"include_usage": False}},
        {"stream": True, "stream_options": [1]},
    ]
    assert len({shape_of(document) for document in documents}) == len(documents)
