import json

import pytest

from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget
from harness.errors import ConfigurationError
from harness.plan import Deployment, Plan, PlannedTask
from harness.withheld import from_variables, kept, refuse_withheld, restored, without

KEY, OTHER = "sk-live-0123456789", "tk-live-9876543210"


def make(url="http://h/v1", deployment=None, **extra):
    adapter = {"interceptors": [{"name": "endpoint", "config": {"headers_to_add": {"X-Api-Key": KEY, "X-A": "a"}}}]}
    endpoint = ApiEndpoint(url=url, api_key_name="MY_KEY", adapter_config=adapter)
    config = EvaluationConfig(type="smoke", output_dir="out", params=ConfigParams(extra=extra))
    tasks = [PlannedTask(name=name, config=config, target=EvaluationTarget(api_endpoint=endpoint)) for name in "ab"]
    return Plan(tasks=tasks, deployment=deployment)


def test_what_is_kept_holds_no_secret_and_all_else():
    plan = make("http://h/v1?api_key=sk-live-0123456789", env={"HF_TOKEN": OTHER, "MODE": "x"},
                deployment=Deployment(command=["serve"], env={"SERVER_KEY": OTHER, "PORT": "1"}))  # fmt: skip
    text = kept(plan)
    assert KEY not in text
    assert OTHER not in text
    document = json.loads(text)
    assert document["deployment"]["env"] == {"SERVER_KEY": "[redacted]", "PORT": "1"}
    assert document["tasks"][0]["config"]["params"]["extra"]["env"] == {"HF_TOKEN": "[redacted]", "MODE": "x"}
    assert document["tasks"][0]["target"]["api_endpoint"]["api_key_name"] == "MY_KEY"


def test_a_plan_without_secrets_comes_back_as_it_was():
    plan = Plan(
        tasks=[make().tasks[0].model_copy(update={"target": EvaluationTarget(api_endpoint={"url": "http://h"})})]
    )
    assert restored("r1", kept(plan), {}) == plan
    assert without(kept(plan)) == plan


def test_a_secret_is_given_again_by_the_end_of_its_places():
    plan = make()
    assert restored("r1", kept(plan), {"X-Api-Key": KEY}) == plan
    place = "target.api_endpoint.adapter_config.interceptors.0.config.headers_to_add.X-Api-Key"
    assert restored("r1", kept(plan), {f"tasks.0.{place}": KEY, f"tasks.1.{place}": KEY}) == plan


def test_what_is_missing_is_named_with_the_way_out():
    with pytest.raises(ConfigurationError) as error:
        restored("r1", kept(make()), {})
    assert "run 'r1' was configured with secrets written out" in str(error.value)
    for task in range(2):
        assert f"tasks.{task}.target.api_endpoint.adapter_config.interceptors.0.config.headers_to_add.X-Api-Key" in str(
            error.value
        )
    assert "--secret X-Api-Key=VARIABLE" in str(error.value)


def test_a_value_that_belongs_nowhere_is_refused():
    with pytest.raises(ConfigurationError, match=r"lacks no secret 'Api-Key'; it lacks tasks\.0\.target"):
        restored("r1", kept(make()), {"X-Api-Key": KEY, "Api-Key": KEY})
    none = Plan(
        tasks=[make().tasks[0].model_copy(update={"target": EvaluationTarget(api_endpoint={"url": "http://h"})})]
    )
    with pytest.raises(ConfigurationError, match="it lacks none"):
        restored("r1", kept(none), {"x": KEY})


def test_a_replay_needs_no_secret():
    plan = without(kept(make()))
    assert [task.name for task in plan.tasks] == ["a", "b"]
    assert KEY not in plan.model_dump_json()


def test_a_configuration_with_secrets_taken_out_is_refused():
    refuse_withheld({"a": ["b", 1, None]})
    with pytest.raises(ConfigurationError, match=r"target\.headers\.X-Api-Key holds '\[redacted\]'.*fill it in"):
        refuse_withheld({"target": {"headers": {"X-Api-Key": "[redacted]"}}})


def test_secrets_come_from_variables(monkeypatch):
    monkeypatch.setenv("MY_KEY", KEY)
    assert from_variables(["X-Api-Key=MY_KEY"]) == {"X-Api-Key": KEY}
    with pytest.raises(ConfigurationError, match="'UNSET_VARIABLE', which should hold X-Api-Key, is not set"):
        from_variables(["X-Api-Key=UNSET_VARIABLE"])
    for wrong in ("X-Api-Key", "=MY_KEY", "X-Api-Key="):
        with pytest.raises(ConfigurationError, match="not of the form PLACE=VARIABLE"):
            from_variables([wrong])
