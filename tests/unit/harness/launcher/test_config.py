from pathlib import Path

import pytest

from harness.api import EndpointType
from harness.errors import ConfigurationError
from harness.launcher.config import Wanted, flattened, make_plan

URL = "http://h:1/v1/completions"


def plan(document, *tasks, overrides=None, flat=False):
    document = {"target": {"api_endpoint": {"url": URL}}, **document}
    return make_plan(document, Wanted(tasks, overrides or {}), Path("out"), flat=flat)


def test_later_overrides_win_however_they_are_nested():
    made = plan(
        {
            "evaluation": {
                "nemo_evaluator_config": {"config": {"params": {"top_p": 0.1, "temperature": 0.1}}},
                "overrides": {"config.params.temperature": 0.2, "config": {"params": {"parallelism": 3}}},
                "tasks": [
                    {"name": "smoke", "overrides": {"config.params.temperature": 0.3}},
                    {"name": "native.smoke", "nemo_evaluator_config": {"config": {"params": {"temperature": 0.4}}}},
                ],
            },
        },
        overrides={"config.params.parallelism": 5},
    )
    first, second = made.tasks
    assert (first.name, second.name) == ("smoke", "smoke-2")
    assert first.config.params.model_dump(exclude_none=True) == {
        "top_p": 0.1, "temperature": 0.3, "parallelism": 5, "extra": {},
    }  # fmt: skip
    assert second.config.params.temperature == 0.4
    assert (first.config.output_dir, second.config.output_dir) == (Path("out/smoke"), Path("out/smoke-2"))
    assert first.target.api_endpoint.speaks() is EndpointType.COMPLETIONS


def test_a_task_alone_writes_into_the_folder():
    [task] = plan({}, "smoke", flat=True).tasks
    assert task.config.output_dir == Path("out")


def test_t_chooses_of_the_tasks_of_the_configuration():
    document = {"evaluation": {"tasks": ["smoke", {"name": "gsm8k"}]}}
    for name in ("gsm8k", "native.gsm8k"):
        assert [task.name for task in plan(document, name).tasks] == ["gsm8k"]
    with pytest.raises(ConfigurationError, match="-t gsm8: the configuration has no such task; did you mean 'gsm8k'"):
        plan(document, "gsm8")


def test_judge_and_proxy_are_given_to_every_task_that_has_none_of_its_own():
    judge = {"api_endpoint": {"url": "http://judge/v1", "model_id": "j"}}
    document = {
        "judge": judge,
        "proxy": {"log_level": "debug"},
        "evaluation": {
            "tasks": ["smoke", {"name": "smoke", "overrides": {"config.judge.api_endpoint.url": "http://other/v1"}}]
        },
    }
    first, second = plan(document).tasks
    assert first.config.judge.api_endpoint.model_id == "j"
    assert second.config.judge.api_endpoint.url == "http://other/v1"
    assert first.target.proxy == second.target.proxy == {"log_level": "debug"}


def test_a_deployment_takes_the_place_of_the_url():
    deployment = {"type": "mine", "command": ["serve", "{size}"], "extra_args": ["--n", 2], "size": 7, "model_id": "m"}
    made = plan({"deployment": deployment, "target": {}}, "smoke")
    assert made.deployment.command == ["serve", "{size}", "--n", "2"]
    assert made.deployment.values == {"size": 7}
    assert made.deployment.model_id == "m"
    with pytest.raises(ConfigurationError, match=f"target.api_endpoint.url is '{URL}', but the deployment 'mine'"):
        plan({"deployment": deployment}, "smoke")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"evalution": {}}, r"unknown field 'evalution' of LaunchConfig; did you mean 'evaluation'\?"),
        ({"execution": {"mode": "both"}}, "execution.mode: .*'parallel' or 'sequential'"),
        ({"execution": {"type": "slurm"}}, "execution.type: .*'local'"),
        ({"evaluation": {"tasks": [{"name": "smoke", "contaner": "x"}]}}, "unknown field 'contaner' of TaskEntry"),
        ({"evaluation": {"overrides": {"params.top_p": 1}}}, "override 'params.top_p' begins neither with 'config.'"),
        ({"evaluation": {"overrides": {"config.type.x": 1}}}, "override 'config.type.x' goes below 'type'"),
        (
            {"evaluation": {"overrides": {"config.params.limit_samples": -5}}},
            "task smoke: config.params.limit_samples: limit_samples -5 asks for no samples",
        ),
        (
            {"evaluation": {"overrides": {"config.params.limit_sample": 5}}},
            "task smoke: config.params: unknown field 'limit_sample' of ConfigParams; did you mean 'limit_samples'",
        ),
        ({"target": {"api_endpoint": {}}}, "task smoke: there is no model server: give --url, or"),
        ({"target": {}}, "task smoke: there is no model server: give --url, or"),
        ({"deployment": {"type": "none", "port": 1}}, "deployment: none takes nothing, but there is: port"),
        ({"deployment": {"type": "mine", "command": []}, "target": {}}, "deployment.command"),
        ({"proxy": {"upstream": {"url": "http://x"}}}, "proxy.upstream.url is given"),
        (
            {
                "proxy": {"interceptors": []},
                "target": {"api_endpoint": {"url": URL, "adapter_config": {"interceptors": []}}},
            },
            "proxy.interceptors and adapter_config.interceptors are both given",
        ),
    ],
)
def test_mistakes_name_key_value_and_way_out(document, message):
    with pytest.raises(ConfigurationError, match=message):
        plan(document, "smoke")


def test_no_task_is_an_error():
    with pytest.raises(ConfigurationError, match="no task; name one with -t TASK"):
        plan({})


def test_a_task_of_another_harness_keeps_its_whole_name():
    [task] = plan({"target": {"api_endpoint": {"url": "http://localhost:1"}}}, "lm-eval.hellaswag").tasks
    assert (task.name, task.config.type) == ("lm-eval.hellaswag", "lm-eval.hellaswag")


def test_flattened_keeps_lists_and_empty_maps():
    found = dict(flattened({"a.b": 1, "c": {"d": {"e": []}, "f": {}}}))
    assert found == {("a", "b"): 1, ("c", "d", "e"): [], ("c", "f"): {}}


def test_names_of_the_users_own_keep_their_dots():
    extra = {"env": {"my.variable": "1"}, "a.b": {"c.d": 2}}
    found = dict(flattened({"config.params": {"extra": extra}, "config": {"params.top_p": 0.5}}))
    place = ("config", "params", "extra")
    assert found == {
        (*place, "env", "my.variable"): "1", (*place, "a.b", "c.d"): 2, ("config", "params", "top_p"): 0.5,
    }  # fmt: skip
    proxy = {"upstream": {"model_aliases": {"gpt-4.1": "m"}}}
    assert dict(flattened({"target": {"proxy": proxy}})) == {
        ("target", "proxy", "upstream", "model_aliases", "gpt-4.1"): "m"
    }
    assert dict(flattened({"config.params.extra.env.x": 1})) == {(*place, "env", "x"): 1}
