import asyncio
import json
import sys
from pathlib import Path

import pytest

from harness.api import ApiEndpoint, ConfigParams, EvaluationConfig, EvaluationTarget
from harness.errors import ConfigurationError, RunError
from harness.execution import begin, carry_out, go_on, place_of, replayed_plan
from harness.plan import Deployment, Execution, Plan, PlannedTask
from harness.runs.database import Runs
from harness.withheld import restored

CHAT = "/v1/chat/completions"
MOCK = ["{python}", "-m", "proxy.cli", "mock-server", "--port", "{port}", "--model", "deployed"]
pytestmark = pytest.mark.usefixtures("standin")


def goes_on(runs, run, **how):
    """A run that is taken up as it was kept."""
    found = runs.find(run)
    return go_on(runs, found, restored(run, found.plan, {}), **how)


@pytest.fixture
def runs(standin):
    with Runs() as opened:
        yield opened


@pytest.fixture
def planned(server):
    def make(*names, url=server.url, deployment=None, each=2, **execution):
        tasks = [
            PlannedTask(
                name=name,
                config=EvaluationConfig(
                    type="smoke",
                    output_dir=f"out/{name}",
                    params=ConfigParams(limit_samples=8, parallelism=each),
                ),
                target=EvaluationTarget(api_endpoint=ApiEndpoint(url=url)),
            )
            for name in names
        ]
        return Plan(tasks=tasks, deployment=deployment, execution=Execution(**execution))

    return make


@pytest.fixture
def in_flight(server, said):
    """Answers slowly, and keeps how many requests were on their way, by task run."""
    seen: list[int] = []
    now = 0

    def answer(_request):
        nonlocal now
        now += 1
        seen.append(now)
        reply = said("x", delay=0.03)
        asyncio.get_running_loop().call_later(0.03, done)
        return reply

    def done():
        nonlocal now
        now -= 1

    server.on(CHAT, answer)
    return seen


@pytest.mark.parametrize(
    ("execution", "most"), [({}, 2), ({"parallelism": 3}, 3), ({"mode": "sequential", "parallelism": 9}, 2)]
)
def test_tasks_run_side_by_side_within_one_limit(runs, planned, server, in_flight, execution, most):
    ended = carry_out(runs, begin(runs, "r1", planned("one", "two", **execution), Path("out"), by="run"))
    assert list(ended.finished) == ["one", "two"]
    assert len(server.generation_requests) <= 16
    assert max(in_flight) <= most
    run = runs.find("r1")
    assert run.state == "success"
    assert {(job.name, job.place, job.state, job.done) for job in runs.jobs(run)} == {
        ("one", "r1.one", "success", 8),
        ("two", "r1.two", "success", 8),
    }
    assert all(Path(f"out/{name}/results.yml").exists() for name in ("one", "two"))


AT_ONCE = """
import json, sys, urllib.request
from concurrent.futures import ThreadPoolExecutor
url, folder, parallelism = sys.argv[1:]

def ask(number):
    body = {"model": "m", "messages": [{"role": "user", "content": f"{folder} {number}"}]}
    request = urllib.request.Request(url + "/chat/completions", json.dumps(body).encode())
    return urllib.request.urlopen(request).status

with ThreadPoolExecutor(int(parallelism)) as pool:
    found = list(pool.map(ask, range(8)))
json.dump({"told": int(parallelism), "asked": len(found)}, open(folder + "/results.json", "w"))
"""


LIMITS = [(2, {"parallelism": 4}, 2), (4, {"parallelism": 3}, 3), (4, {}, 4)]


@pytest.mark.parametrize(("each", "execution", "told"), LIMITS)
def test_other_harnesses_are_held_to_the_limit_of_all(runs, planned, in_flight, each, execution, told):
    """Two of them beside a native task: each asks as many at once as it is told to."""
    Path("program.py").write_text(AT_ONCE)
    command = f"{sys.executable} {Path('program.py').resolve()} $base_url $output_dir $parallelism"
    plan = planned("native", each=each, **execution)
    [native] = plan.tasks
    target = EvaluationTarget(api_endpoint=native.target.api_endpoint.model_copy(update={"model_id": "m"}))
    others = [
        PlannedTask(
            name=name,
            config=EvaluationConfig(
                type=f"command.{name}",
                output_dir=f"out/{name}",
                params=ConfigParams(parallelism=each, extra={"command": command}),
            ),
            target=target,
        )
        for name in ("one", "two")
    ]
    start = begin(runs, "r1", plan.model_copy(update={"tasks": [native, *others]}), Path("out"), by="run")
    ended = carry_out(runs, start)
    assert not ended.failed
    for name in ("one", "two"):
        metrics = ended.finished[name].result.tasks[name].metrics
        assert (metrics["told"].scores["told"].value, metrics["asked"].scores["asked"].value) == (told, 8)
    assert 1 < max(in_flight) <= execution.get("parallelism", each)
    lowered = f"parallelism is {told}, not {each}: execution.parallelism allows no more in all"
    assert (lowered in runs.log_path("r1").read_text()) == (told < each)


def test_an_error_of_one_task_leaves_the_others(runs, planned, server, said):
    server.on(CHAT, said("x"))
    plan = planned("good", "bad")
    broken = plan.tasks[1].model_copy(
        update={"target": EvaluationTarget(api_endpoint=ApiEndpoint(url="http://127.0.0.1:9"))}
    )
    ended = carry_out(
        runs, begin(runs, "r1", plan.model_copy(update={"tasks": [plan.tasks[0], broken]}), Path("out"), by="run")
    )
    assert list(ended.finished) == ["good"]
    assert "cannot be reached" in str(ended.failed["bad"])
    run = runs.find("r1")
    assert run.state == "failed"
    good, bad = runs.jobs(run)
    assert (good.state, bad.state) == ("success", "failed")
    assert "cannot be reached" in bad.message
    left = goes_on(runs, run.id)
    assert [task.name for task in left.plan.tasks] == ["bad"]


def test_a_deployment_is_started_for_the_run_and_stopped(runs, planned, server):
    plan = planned("one", url="http://deployment.invalid/v1", deployment=Deployment(command=MOCK, model_id="deployed"))
    ended = carry_out(runs, begin(runs, "r1", plan, Path("out"), by="run"))
    assert ended.finished["one"].model_id == "deployed"
    assert ended.finished["one"].tally.done == 8
    assert server.requests == []
    assert Path("out/deployment.log").exists()
    assert "the model server answers at http://127.0.0.1:" in runs.log_path("r1").read_text()


def test_a_replay_asks_the_model_that_was_asked_in_a_run_made_from_it(runs, planned, server, said, monkeypatch):
    monkeypatch.setenv("MY_KEY", "sk-0123456789")
    server.on(CHAT, said("x"))
    plan = planned("one")
    endpoint = ApiEndpoint(url=server.url, api_key_name="MY_KEY")
    task = plan.tasks[0].model_copy(update={"target": EvaluationTarget(api_endpoint=endpoint)})
    carry_out(runs, begin(runs, "r1", plan.model_copy(update={"tasks": [task]}), Path("out"), by="run"))
    monkeypatch.delenv("MY_KEY")
    again = Plan.model_validate_json(runs.find("r1").plan)
    source = runs.find("r1")
    start = begin(runs, "r2", replayed_plan(runs, again, source), Path("out"), by="run", source=source)
    [replayed] = start.plan.tasks
    assert start.openings == {"one": {"from": "r1.one", "mode": "replay"}}
    assert start.replays
    assert replayed.target.api_endpoint.model_id == "mock-model"
    assert replayed.target.api_endpoint.api_key_name is None
    assert runs.find("r2").source == "r1"
    assert goes_on(runs, "r2").replays


def test_a_complete_run_does_not_go_on_but_again(runs, planned, server, said):
    server.on(CHAT, said("x"))
    carry_out(runs, begin(runs, "r1", planned("one"), Path("out"), by="run"))
    with pytest.raises(RunError, match="run 'r1' is complete; `evalside rerun r1` does it again"):
        goes_on(runs, "r1")
    assert goes_on(runs, "r1", again=True).openings == {"one": {}}


def test_ids_and_places_are_names_of_runs(runs, planned):
    with pytest.raises(ConfigurationError, match="'a b' is not an id for a run"):
        begin(runs, "a b", planned("one"), Path("out"), by="run")
    assert place_of("r1", "tasks/own.yaml") == "r1.tasks-own.yaml"


def test_a_plan_survives_being_kept(planned):
    plan = planned("one", "two", deployment=Deployment(command=["x"], values={"a": None}), mode="sequential")
    assert Plan.model_validate_json(plan.model_dump_json(exclude_none=True)).tasks == plan.tasks
    with pytest.raises(ValueError, match="two tasks are called 'one'"):
        planned("one", "one")
    assert json.loads(plan.model_dump_json())["execution"]["mode"] == "sequential"


def test_a_run_that_was_given_up_begins_a_new_pass_when_it_goes_on(runs, planned, server, refused):
    server.on(CHAT, refused(424, "bad request", "run_aborted"))
    carry_out(runs, begin(runs, "r1", planned("one"), Path("out"), by="run"))
    [job] = runs.jobs(runs.find("r1"))
    assert job.message.startswith("the run was given up")
    assert goes_on(runs, "r1").openings == {"one": {}}
