import json

import pytest

from proxy.core import errors
from proxy.core.errors import ProxyError, QueueFull, SampleBusy, ShuttingDown, StoreUnwritable


def every(kind):
    return [kind, *(descendant for child in kind.__subclasses__() for descendant in every(child))]


def test_the_body_is_shaped_as_openai_shapes_it():
    error = errors.InvalidJson("no")
    assert json.loads(error.body()) == {
        "error": {"message": "no", "type": "invalid_request_error", "param": None, "code": "invalid_json"}
    }


def test_a_message_that_quotes_half_a_character_still_has_a_body():
    assert json.loads(ProxyError("bad \ud800 name").body())["error"]["message"] == "bad ? name"


@pytest.mark.parametrize("kind", every(ProxyError), ids=lambda kind: kind.__name__)
def test_sdks_are_told_when_asking_again_is_no_use(kind):
    headers = kind("x", headers=[(b"allow", b"GET")]).response_headers()
    assert headers[:2] == [(b"content-type", b"application/json"), (b"allow", b"GET")]
    assert ((b"x-should-retry", b"false") in headers) is not kind.retry_helps
    assert kind.retry_helps == (
        kind.kind == "upstream_error" or kind in {QueueFull, SampleBusy, ShuttingDown, StoreUnwritable}
    )


@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (errors.InvalidJson, 400, "invalid_json"),
        (errors.NotAnObject, 400, "not_an_object"),
        (errors.NotEditable, 400, "not_editable"),
        (errors.Unauthorized, 401, "unauthorized"),
        (errors.NotFound, 404, "not_found"),
        (errors.BodyTooLarge, 413, "body_too_large"),
        (errors.InterceptorFailed, 500, "interceptor_failed"),
        (errors.UpstreamUnreachable, 502, "upstream_unreachable"),
        (errors.UpstreamIncomplete, 502, "upstream_incomplete"),
        (errors.UpstreamTimeout, 504, "upstream_timeout"),
        (errors.UpstreamStalled, 504, "upstream_stalled"),
    ],
)
def test_documented_codes_and_statuses(kind, status, code):
    assert (kind.status, kind.code) == (status, code)


def test_no_two_errors_share_a_code():
    codes = [kind.code for kind in every(ProxyError)]
    assert len(codes) == len(set(codes))
