import json

import pytest

from harness.api import ApiEndpoint
from harness.errors import ConfigurationError
from harness.profiles import find_profile as found_profile
from harness.profiles import refuse_lacking, require
from harness.tasks.catalog import resolve


def find_profile(endpoint, folder):
    """Return the file of the profile."""
    found = found_profile(endpoint, folder)
    return None if found is None else found[0]


@pytest.fixture
def probed(tmp_path):
    def make(name, *, url="http://localhost:8080/v1", model="m", at="2026-01-01T00:00:00Z", **capabilities):
        verdicts = {key.replace("__", "."): {"verdict": value} for key, value in capabilities.items()}
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps({"url": url, "model": model, "probed_at": at, "capabilities": verdicts}))
        return path

    return make


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://localhost:8080/v1", "http://localhost:8080/v1/completions"]
)
def test_every_form_of_a_url_is_the_same_endpoint(probed, tmp_path, url):
    path = probed("a")
    assert find_profile(ApiEndpoint(url=url, model_id="m"), tmp_path) == path
    assert find_profile(ApiEndpoint(url=url), tmp_path) == path


def test_another_server_path_or_model_has_no_profile_here(probed, tmp_path):
    probed("a")
    for url, model in (
        ("http://localhost:8081/v1", "m"),
        ("http://localhost:8080/x/v1", "m"),
        ("http://localhost:8080/v1", "n"),
    ):
        assert find_profile(ApiEndpoint(url=url, model_id=model), tmp_path) is None
    assert find_profile(ApiEndpoint(url="http://localhost:8080/v1"), tmp_path / "none") is None


def test_the_newest_profile_counts(probed, tmp_path):
    probed("a", at="2026-02-01T00:00:00Z")
    newest = probed("b", at="2026-03-01T00:00:00Z")
    probed("c", at="2026-01-01T00:00:00Z")
    assert find_profile(ApiEndpoint(url="http://localhost:8080/v1"), tmp_path) == newest


def test_a_task_that_needs_what_is_missing_is_refused_with_the_reason_and_the_way_out(probed, tmp_path):
    path = probed("a", completions__echo_logprobs="ignored")
    endpoint = ApiEndpoint(url="http://localhost:8080/v1/completions", model_id="m")
    with pytest.raises(
        ConfigurationError, match=r"completions\.echo_logprobs is ignored[\s\S]*evalside probe --upstream"
    ) as error:
        refuse_lacking(resolve("lm-eval.hellaswag").entry, endpoint, tmp_path)
    assert str(path) in str(error.value)
    refuse_lacking(resolve("gsm8k").entry, endpoint, tmp_path)
    refuse_lacking(resolve("lm-eval.hellaswag").entry, endpoint, tmp_path / "none")


def test_required_capabilities_are_what_the_probe_found(probed, tmp_path):
    endpoint = ApiEndpoint(url="http://localhost:8080/v1", model_id="m")
    require([], endpoint, tmp_path)
    with pytest.raises(ConfigurationError, match="nobody probed this endpoint"):
        require(["tools"], endpoint, tmp_path)
    probed("a", chat__tools="ignored", chat__logprobs="supported")
    require(["logprobs"], endpoint, tmp_path)
    with pytest.raises(ConfigurationError, match=r"required_capabilities asks for[\s\S]*chat\.tools is ignored"):
        require(["logprobs", "tools"], endpoint, tmp_path)
    with pytest.raises(ConfigurationError, match="'video_url', which evalside probe does not test"):
        require(["video_url"], endpoint, tmp_path)


@pytest.mark.parametrize(("content", "said"), [("{", "cannot be read"), ("[]", "no capability profile")])
def test_a_broken_profile_is_named(tmp_path, content, said):
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ConfigurationError, match=said):
        find_profile(ApiEndpoint(url="http://localhost:8080/v1"), tmp_path)
