import builtins
import json

import pytest
import yaml

from harness.errors import ConfigurationError
from harness.launcher.compose import GROUPS, Source, compose

FILE = """
defaults:
  - execution: local
  - deployment: none
  - _self_
target:
  api_endpoint: {url: "http://h/v1", model_id: m}
execution: {output_dir: ./results}
evaluation:
  tasks:
    - name: gsm8k
      overrides: {config.params.limit_samples: 5}
    - mmlu_pro
"""


@pytest.fixture
def composed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def make(*overrides, text=FILE):
        (tmp_path / "run.yaml").write_text(text)
        return compose(Source(file=tmp_path / "run.yaml"), overrides)

    return make


@pytest.mark.parametrize("name", ["manifest.json", "run.yml"])
def test_a_manifest_is_read_for_the_configuration_in_it(composed, tmp_path, name):
    document = yaml.safe_load(FILE)
    told = (
        {"format": 1, "target": {"api_endpoint": {}}, "run_config": document} if name == "manifest.json" else document
    )
    (tmp_path / name).write_text(json.dumps(told))
    found = compose(Source(file=tmp_path / name), ["target.api_endpoint.url=http://other/v1"])
    assert found == composed("target.api_endpoint.url=http://other/v1")
    assert found["evaluation"] == document["evaluation"]


def test_groups_are_filled_in_and_the_file_wins(composed):
    document = composed()
    assert document["execution"] == {
        "type": "local", "output_dir": "./results", "mode": "parallel", "parallelism": None,
    }  # fmt: skip
    assert document["deployment"] == {"type": "none"}
    assert document["evaluation"]["tasks"][0] == {"name": "gsm8k", "overrides": {"config.params.limit_samples": 5}}


def test_a_file_without_defaults_gets_the_same(composed):
    document = composed(text="execution: {mode: sequential}\ntarget: {api_endpoint: {url: http://h}}\n")
    assert document["execution"]["mode"] == "sequential"
    assert document["execution"]["output_dir"] == "./evalside-results"
    assert document["deployment"] == {"type": "none"}


def test_a_directory_and_a_name_are_the_same_as_a_file(composed, tmp_path):
    document = composed()
    assert compose(Source(tmp_path, "run")) == document
    assert compose(Source(tmp_path, "run.yaml")) == document
    assert compose(Source(name="run")) == document


def test_the_other_ending_of_yaml_serves_too(composed, tmp_path):
    document = composed()
    (tmp_path / "run.yaml").rename(tmp_path / "other.yml")
    assert compose(Source(file=tmp_path / "other.yml")) == document
    assert compose(Source(tmp_path, "other.yml")) == document


def test_no_configuration_is_the_defaults():
    assert compose(Source()) == {
        "execution": {"type": "local", "output_dir": "./evalside-results", "mode": "parallel", "parallelism": None},
        "deployment": {"type": "none"},
    }
    assert compose(Source(), ["proxy.log_level=debug"])["proxy"] == {"log_level": "debug"}


def test_overrides_change_add_and_take_away(composed):
    document = composed(
        "target.api_endpoint.url=http://x:1/v1?a=b&c=d",
        "+target.api_endpoint.type=chat",
        "++proxy.upstream.namespace=n",
        "evaluation.overrides.config.params.temperature=0.5",
        "~target.api_endpoint.model_id",
        "target.api_endpoint.adapter_config.interceptors=[caching, {name: limit, config: {max_concurrent: 2}}]",
    )
    endpoint = document["target"]["api_endpoint"]
    assert endpoint["url"] == "http://x:1/v1?a=b&c=d"
    assert endpoint["type"] == "chat"
    assert "model_id" not in endpoint
    assert endpoint["adapter_config"]["interceptors"][1]["config"] == {"max_concurrent": 2}
    assert document["proxy"] == {"upstream": {"namespace": "n"}}
    assert document["evaluation"]["overrides"] == {"config": {"params": {"temperature": 0.5}}}


def test_what_has_to_be_given_can_be_taken_away_instead(composed):
    document = composed("~target.url", text="target:\n  url: ???\n  type: chat\n")
    assert document["target"] == {"type": "chat"}


def test_tasks_are_reached_by_name_and_by_number(composed):
    document = composed(
        "evaluation.tasks.mmlu_pro.overrides.config.params.limit_samples=7", "evaluation.tasks.0.name=smoke"
    )
    first, second = document["evaluation"]["tasks"]
    assert first["name"] == "smoke"
    assert second == {"name": "mmlu_pro", "overrides": {"config": {"params": {"limit_samples": 7}}}}


@pytest.mark.parametrize("choice", sorted(path.stem for path in (GROUPS / "deployment").glob("*.yaml")))
@pytest.mark.parametrize("text", [FILE, "target: {}\n"], ids=["listed", "not listed"])
def test_every_deployment_can_be_chosen(composed, choice, text):
    needed = {"vllm": "model", "sglang": "model", "transformers": "model", "command": "command"}
    extra = [f"deployment.{needed[choice]}=[x]"] if choice in needed else []
    assert composed(f"deployment={choice}", *extra, text=text)["deployment"]["type"] == choice


def test_groups_of_the_users_own_are_found(composed, tmp_path):
    (tmp_path / "deployment").mkdir()
    (tmp_path / "deployment" / "mine.yaml").write_text("type: mine\ncommand: [serve]\n")
    assert composed("deployment=mine")["deployment"] == {"type": "mine", "command": ["serve"]}


@pytest.mark.parametrize(
    ("text", "overrides", "message"),
    [
        (
            "target: {api_endpoint: {url: '???'}}",
            [],
            r"target.api_endpoint.url: required, .* `-o target.api_endpoint.url=",
        ),
        (FILE, ["deployment=vllm"], r"^deployment.model: required, .* `-o deployment.model=…`"),
        ("evaluation: {tasks: [{name: '???'}]}", [], r"^evaluation.tasks\[0\].name: required"),
        (FILE, ["deployment=vlm"], r"unknown deployment 'vlm'; did you mean 'vllm'\?"),
        (
            FILE,
            ["config.params.top_p=1"],
            r"override 'config.params.top_p=1' is of tasks; write it evaluation.overrides.config.params.top_p for all",
        ),
        (FILE, ["a.b"], "override 'a.b' has no '='"),
        (FILE, ["~a.b"], "override '~a.b' takes away a key that is not there"),
        (FILE, ["evaluation.tasks.gsm8.name=x"], r"no task 'gsm8'; did you mean 'gsm8k'\?"),
        ("defaults: [{execution: lokal}]", [], "run.yaml cannot be composed: .*lokal"),
        ("target: {url: '${nothing}'}", [], "the configuration cannot be composed: .*nothing"),
        ("[1]", [], "must hold a mapping"),
        ("a: [", [], "cannot be read"),
    ],
)
def test_mistakes_are_named(composed, text, overrides, message):
    with pytest.raises(ConfigurationError, match=message):
        composed(*overrides, text=text)


def test_files_that_are_not_there_are_named_with_the_nearest(composed, tmp_path):
    composed()
    with pytest.raises(ConfigurationError, match=r"there is no configuration .*ran.yaml; did you mean 'run'\?"):
        compose(Source(tmp_path, "ran"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(
        ConfigurationError, match=r"there is no configuration .*run.yaml; there is none to choose from$"
    ):
        compose(Source(tmp_path / "empty", "run"))
    with pytest.raises(ConfigurationError, match="there is no folder nowhere"):
        compose(Source(name="nowhere/run"))
    with pytest.raises(ConfigurationError, match="needs --config-name"):
        compose(Source(directory=tmp_path))
    with pytest.raises(ConfigurationError, match="leave --config-dir and --config-name out"):
        compose(Source(tmp_path, "run", tmp_path / "run.yaml"))


def test_without_hydra_the_message_says_how_to_get_it(composed, monkeypatch):
    real = builtins.__import__

    def missing(name, *rest):
        if name.startswith(("hydra", "omegaconf")):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(
        ConfigurationError, match=r"needs hydra-core; install it with `pip install 'evalside\[launcher\]'`"
    ):
        composed()
    assert compose(Source())
