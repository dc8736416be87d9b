import json

import pytest

from proxy.wire.refusals import refused_parameters

EXTRA = "[{'type': 'extra_forbidden', 'loc': ('body', 'enable_thinking'), 'msg': 'Extra inputs are not permitted'}]"
HOSTED = (
    "body -> frequency_penalty\n  Extra inputs are not permitted (type=extra_forbidden)\n"
    "body -> n\n  Extra inputs are not permitted (type=extra_forbidden)"
)
NESTED = [{"type": "extra_forbidden", "loc": ["body", "messages", 0, "id"], "msg": "Extra inputs are not permitted"}]
DETAIL = [{"type": "extra_forbidden", "loc": ["body", "foo"], "msg": "Extra inputs are not permitted", "input": 1}]
INSTEAD = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."


@pytest.mark.parametrize(
    ("document", "names"),
    [
        pytest.param({"detail": "Unexpected fields in the request: {'foo'}"}, {"foo"}, id="transformers serve"),
        pytest.param({"detail": "Unsupported fields in the request: {'n', 'user'}"}, {"n", "user"}, id="its older"),
        pytest.param({"object": "error", "message": EXTRA, "code": 400}, {"enable_thinking"}, id="TensorRT-LLM"),
        pytest.param({"error": {"message": EXTRA}}, {"enable_thinking"}, id="vLLM"),
        pytest.param({"detail": DETAIL}, {"foo"}, id="FastAPI"),
        pytest.param({"detail": HOSTED, "status": 422}, {"frequency_penalty", "n"}, id="hosted NIM"),
        pytest.param(
            {"error": {"message": "Unrecognized request argument supplied: top_k"}}, {"top_k"}, id="OpenAI"
        ),
        pytest.param(
            {"error": {"message": "Unrecognized request arguments supplied: a, b"}}, {"a", "b"}, id="OpenAI, several"
        ),
        pytest.param({"error": {"message": "Unknown parameter: 'foo'."}}, {"foo"}, id="OpenAI, responses"),
        pytest.param(
            {"error": {"message": "no", "param": "foo", "code": "unsupported_parameter"}}, {"foo"}, id="OpenAI, by code"
        ),
        pytest.param({"error": "reasoning: Extra inputs are not permitted"}, {"reasoning"}, id="pydantic's own text"),
        pytest.param(
            {"error": {"message": INSTEAD, "param": "max_tokens", "code": "unsupported_parameter"}}, set(),
            id="another name is another matter",
        ),
        pytest.param({"error": {"message": "bad", "param": "foo", "code": "invalid_value"}}, set(), id="a value"),
        pytest.param({"detail": NESTED}, set(), id="below the top level"),
        pytest.param({"detail": "Server is pinned to 'a'; requested 'x'."}, set(), id="no parameter"),
        pytest.param({"detail": [1, {"type": "missing", "loc": ["body", "foo"]}]}, set(), id="missing"),
        pytest.param({"error": {"message": 5}}, set(), id="no text"),
        pytest.param([{"message": "Unknown parameter: 'foo'."}], set(), id="no object"),
    ],
)  # fmt: skip
def test_names_are_read_from_what_real_servers_say(document, names):
    assert refused_parameters(json.dumps(document).encode()) == names


def test_what_is_not_json_names_nothing():
    assert refused_parameters(b"Unknown parameter: 'foo'") == set()


def test_an_endless_error_names_nothing():
    error = {"detail": "Unexpected fields in the request: {'foo'}" + "\n" * 100_000}
    assert refused_parameters(json.dumps(error).encode()) == set()
