import sys

import httpx
import pytest
import yaml

from harness.adapters.adapter_config import FLAGS, AdapterConfig, InterceptorConfig
from harness.api import ApiEndpoint
from harness.errors import ConfigurationError, StartError
from harness.proxy_process import Sidecar, proxy_config
from proxy import legacy
from tests.unit.harness.conftest import STANDIN


@pytest.fixture
def make_sidecar(tmp_path):
    def make(endpoint, command=STANDIN, **kwargs):
        return Sidecar(
            endpoint, log_path=tmp_path / "sidecar.log", store=tmp_path / "db" / "x.db", command=command, **kwargs
        )

    return make


def test_it_forwards_on_the_socket_bound_here_and_stops(server, make_sidecar):
    with make_sidecar(ApiEndpoint(url=f"{server.url}/v1")) as sidecar:
        assert sidecar.url.startswith("http://127.0.0.1:")
        assert httpx.get(f"{sidecar.url}/v1/models").json()["data"][0]["id"] == "mock-model"
    with pytest.raises(httpx.ConnectError):
        httpx.get(sidecar.url)


def test_two_at_once_have_their_own_ports(server, make_sidecar):
    endpoint = ApiEndpoint(url=server.url)
    with make_sidecar(endpoint) as one, make_sidecar(endpoint) as two:
        assert one.url != two.url


def test_the_configuration_names_the_key_and_never_holds_it(server, make_sidecar, monkeypatch, tmp_path):
    monkeypatch.setenv("MY_KEY", "sk-secret")
    with make_sidecar(ApiEndpoint(url=server.url, model_id="m", api_key="MY_KEY")):
        pass
    written = yaml.safe_load((tmp_path / "sidecar.log").read_text())
    assert written["upstream"] == {"url": server.url, "model_id": "m", "api_key_name": "MY_KEY"}
    assert written["store"] == f"sqlite:///{tmp_path}/db/x.db"
    assert "interceptors" not in written
    assert (tmp_path / "db").is_dir()


def test_interceptors_are_passed_on(tmp_path):
    adapter = AdapterConfig(interceptors=["caching", InterceptorConfig(name="request_logging", enabled=False)])
    config = proxy_config(ApiEndpoint(url="http://h", adapter_config=adapter), tmp_path / "x.db")
    assert config["interceptors"] == ["caching", {"name": "request_logging", "enabled": False, "config": {}}]


def test_no_interceptors_is_not_the_default_pipeline(tmp_path):
    def given(adapter):
        return proxy_config(ApiEndpoint(url="http://h", adapter_config=adapter), tmp_path / "x.db").get("interceptors")

    assert given(AdapterConfig(interceptors=[])) == []
    assert given(AdapterConfig()) is None


def test_the_configuration_file_is_private_and_gone_afterwards(server, make_sidecar, tmp_path):
    code = (
        "import os,runpy,stat,sys; path = sys.argv[sys.argv.index('--config') + 1];"
        "print('#', path, oct(os.stat(path).st_mode), oct(os.stat(os.path.dirname(path)).st_mode), flush=True);"
        f"sys.argv[0] = {STANDIN[1]!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    with make_sidecar(ApiEndpoint(url=server.url), command=(sys.executable, "-c", code)):
        pass
    _, path, mode, folder_mode = (tmp_path / "sidecar.log").read_text().splitlines()[0].split()
    assert (mode[-3:], folder_mode[-3:]) == ("600", "700")
    with pytest.raises(FileNotFoundError):
        open(path)  # noqa: PTH123, SIM115


def test_settings_of_another_sidecar_in_the_environment_do_not_reach_this_one(
    server, make_sidecar, monkeypatch, tmp_path
):
    monkeypatch.setenv("EVALSIDE_UPSTREAM__URL", "http://elsewhere")
    monkeypatch.setenv("EVALSIDE_MY_KEY", "sk-1")
    code = (
        "import os,runpy,sys; print('#', [n for n in os.environ if n.startswith('EVALSIDE_')], flush=True);"
        f"sys.argv[0] = {STANDIN[1]!r}; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    endpoint = ApiEndpoint(url=server.url, api_key_name="EVALSIDE_MY_KEY")
    with make_sidecar(endpoint, command=(sys.executable, "-c", code)):
        pass
    assert (tmp_path / "sidecar.log").read_text().splitlines()[0] == "# ['EVALSIDE_MY_KEY']"


@pytest.mark.parametrize("value", [None, ""])
def test_a_missing_key_variable_is_named_before_anything_starts(server, make_sidecar, monkeypatch, tmp_path, value):
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("NO_SUCH_KEY", value)
    endpoint = ApiEndpoint(url=server.url, api_key_name="NO_SUCH_KEY")
    with (
        pytest.raises(ConfigurationError, match=r"'NO_SUCH_KEY'.* is not set; .*export NO_SUCH_KEY"),
        make_sidecar(endpoint),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


def test_dying_at_start_shows_its_log(server, make_sidecar):
    command = (sys.executable, "-c", "import sys; sys.exit('unknown interceptor cahce')")
    with (
        pytest.raises(StartError, match=r"the sidecar stopped at start .*\n(.*\n)*.*unknown interceptor cahce"),
        make_sidecar(ApiEndpoint(url=server.url), command=command),
    ):
        pass


def test_a_sidecar_that_never_serves_is_stopped(server, make_sidecar):
    command = (sys.executable, "-c", "import time; time.sleep(60)")
    endpoint = ApiEndpoint(url=server.url)
    with (
        pytest.raises(StartError, match="did not answer"),
        make_sidecar(endpoint, command=command, start_timeout_s=0.5),
    ):
        pass


def test_settings_of_the_sidecar_are_passed_on_and_the_endpoint_has_the_last_word(tmp_path):
    proxy = {"upstream": {"namespace": "n", "model_id": "other"}, "store": "sqlite:///mine.db", "log_level": "debug"}
    config = proxy_config(ApiEndpoint(url="http://h", model_id="m"), tmp_path / "x.db", proxy)
    assert config == {
        "upstream": {"namespace": "n", "model_id": "m", "url": "http://h"},
        "store": "sqlite:///mine.db",
        "log_level": "debug",
    }
    assert proxy["upstream"] == {"namespace": "n", "model_id": "other"}


def test_settings_that_the_sidecar_refuses_are_the_users_mistake(server, make_sidecar):
    command = (sys.executable, "-c", "import sys; print('unknown interceptor cahce'); sys.exit(2)")
    with (
        pytest.raises(ConfigurationError, match=r"the sidecar does not take its configuration: (.*\n)*.*cahce"),
        make_sidecar(ApiEndpoint(url=server.url), command=command),
    ):
        pass


def test_flat_flags_are_the_sidecars_and_become_interceptors(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert legacy.FLAT | {"include_json", "generate_html_report", "html_report_size"} == FLAGS
    adapter = AdapterConfig.model_validate({"use_caching": False, "params_to_add": {"seed": 1}, "html_report_size": 5})
    endpoint = ApiEndpoint(url=server.url, adapter_config=adapter)
    with Sidecar(endpoint, log_path=tmp_path / "log", store=tmp_path / "x.db") as sidecar:
        pipeline = httpx.get(f"{sidecar.url}/-/config").json()["pipeline"]
        httpx.post(f"{sidecar.url}/v1/completions", json={"prompt": "a"})
    names = [stage["name"] for stage in pipeline]
    assert "payload_modifier" in names
    assert "caching" not in names
    assert server.generation_requests[0].json["seed"] == 1
