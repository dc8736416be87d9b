import pytest

from proxy.wire.error_bodies import reshape

LISTED = [
    {"loc": ["body", "messages", 0], "msg": "wrong"},
    {"loc": ["body"], "msg": "not JSON"},
    {"odd": 1},
]


@pytest.mark.parametrize(
    ("shape", "status", "document", "error"),
    [
        ("detail", 422, {"detail": "no"}, {"message": "no", "type": "invalid_request_error"}),
        ("detail", 404, {"detail": "no"}, {"message": "no", "type": "not_found_error"}),
        ("detail", 500, {"detail": "no"}, {"message": "no", "type": "server_error"}),
        (
            "detail", 422, {"detail": LISTED},
            {
                "message": "messages.0: wrong; not JSON; {'odd': 1}", "type": "invalid_request_error",
                "param": "messages",
            },
        ),
        ("detail", 422, {"detail": [{"odd": 1}]}, {"message": "{'odd': 1}", "type": "invalid_request_error"}),
        ("text", 422, {"error": "no", "error_type": "validation"}, {"message": "no", "type": "validation"}),
        ("text", 401, {"error": "no"}, {"message": "no", "type": "authentication_error"}),
        (
            "flat", 400, {"object": "error", "message": "no", "type": "BadRequestError", "param": "p", "code": 400},
            {"message": "no", "type": "BadRequestError", "param": "p", "code": 400},
        ),
    ],
)  # fmt: skip
def test_an_error_gets_the_shape_that_clients_read(shape, status, document, error):
    assert reshape(document, shape, status)
    assert document == {"error": {"param": None, "code": None, **error}}


@pytest.mark.parametrize(
    ("shape", "document"),
    [
        ("detail", {"error": {"message": "no"}}),
        ("detail", {"detail": []}),
        ("detail", {"detail": {"a": 1}}),
        ("text", {"error": {"message": "no"}}),
        ("flat", {"object": "list", "message": "no"}),
    ],
)
def test_another_shape_stays(shape, document):
    before = dict(document)

    assert not reshape(document, shape, 400)
    assert document == before
