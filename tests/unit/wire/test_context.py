import pytest

from proxy.wire.context import context_length


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"models[m].max_model_len": "4096", "models[m].root": "m"}, 4096),
        ({"props.n_ctx": "2048", "models[m].n_ctx": "2048", "models[m].n_ctx_train": "8192"}, 2048),
        ({"models[a.b].n_ctx": "8192", "props.n_ctx": "2048"}, 2048),
        ({"server_info.context_length": "32768"}, 32768),
        ({"info.max_total_tokens": "1024"}, 1024),
        ({"props.n_ctx": "0"}, None),
        ({"props.n_ctx": "much"}, None),
        ({}, None),
    ],
)
def test_it_is_the_smallest_that_is_told(facts, expected):
    assert context_length(facts) == expected
