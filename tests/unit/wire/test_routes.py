import pytest

from proxy.wire import routes
from proxy.wire.routes import match


@pytest.mark.parametrize(("path", "route"), routes.PIPELINE.items())
def test_only_post_runs_the_pipeline(path, route):
    assert match("POST", path) == (route, path)
    assert match("GET", path) == (None, path)


@pytest.mark.parametrize("path", [b"/chat/completions", b"/completions", b"/embeddings", b"/responses", b"/messages"])
def test_a_generation_route_without_v1_is_the_one_with_it(path):
    assert match("POST", path) == (routes.PIPELINE[b"/v1" + path], b"/v1" + path)


@pytest.mark.parametrize("path", [b"/", b"/v1/models", b"/v1/chat/completions/", b"/health", b"/v1/tokenize"])
def test_anything_else_is_only_relayed(path):
    assert match("POST", path) == (None, path)


def test_every_route_that_samples_is_a_route():
    assert set(routes.PIPELINE.values()) >= routes.SAMPLING == routes.GENERATION
