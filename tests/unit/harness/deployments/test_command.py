import sys

import httpx
import pytest

from harness.deployments.command import Deployed, arguments
from harness.errors import ConfigurationError, StartError
from harness.plan import Deployment

MOCK = ["{python}", "-m", "proxy.cli", "mock-server", "--port", "{port}", "--model", "{name}"]


def test_names_in_braces_are_filled_in_and_empty_words_left_out():
    deployment = Deployment(
        command=["{python}", "serve", "{model}", "{{x}}", "--n={n}", "{port}"], values={"model": None, "n": 3}
    )
    assert arguments(deployment, 4000) == [sys.executable, "serve", "{x}", "--n=3", "4000"]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("{prot}", r"deployment.command has \{prot\} in '\{prot\}', and deployment no 'prot'; did you mean 'port'\?"),
        ("{", "which cannot be filled in"),
        ("{port.x}", "which cannot be filled in"),
    ],
)
def test_a_name_that_nothing_gives_is_an_error(word, message):
    with pytest.raises(ConfigurationError, match=message):
        arguments(Deployment(command=[word]), 1)


def test_a_server_is_started_waited_for_and_stopped(tmp_path):
    deployment = Deployment(command=MOCK, values={"name": "m"}, model_id="m", env={"COLUMNS": "80"})
    with Deployed(deployment, log_path=tmp_path / "log") as deployed:
        endpoint = deployed.endpoint()
        assert endpoint.url == f"{deployed.url}/v1"
        assert endpoint.model_id == "m"
        assert httpx.get(f"{endpoint.url}/models").json()["data"][0]["id"] == "m"
    with pytest.raises(httpx.ConnectError):
        httpx.get(deployed.url)


def test_any_of_the_health_paths_will_do(tmp_path):
    deployment = Deployment(command=MOCK, values={"name": "m"}, health=["/nothing", "/v1/models"])
    with Deployed(deployment, log_path=tmp_path / "log") as deployed:
        assert deployed.url


def test_a_server_that_stops_shows_the_end_of_its_log(tmp_path):
    deployment = Deployment(command=["{python}", "-c", "import sys; sys.exit('no GPU here')"])
    with (
        pytest.raises(StartError, match=r"the model server \(.* …\) stopped at start (.*\n)*.*no GPU here"),
        Deployed(deployment, log_path=tmp_path / "log"),
    ):
        pass


def test_a_server_that_answers_nowhere_is_given_up(tmp_path):
    deployment = Deployment(command=MOCK, values={"name": "m"}, health=["/a", "/b"], start_timeout=3)
    with (
        pytest.raises(StartError, match=r"did not answer at http://127.0.0.1:\d+/a or http://127.0.0.1:\d+/b in 3 s"),
        Deployed(deployment, log_path=tmp_path / "log"),
    ):
        pass
