"""`evalside log diff`, on a store that a sidecar has left behind."""

import json
from itertools import takewhile
from typing import Any

import pytest
from typer.testing import CliRunner

from proxy.commands.log import log_app
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar

STORE = ["--store", "sqlite:///evalside.db"]
LOGGING = ["request_logging", "response_logging"]


def run(*words: Any) -> Any:
    return CliRunner().invoke(log_app, ["diff", *map(str, words), *STORE])


def diff(*words: Any, code: int) -> Any:
    done = run(*words, "--json")
    assert done.exit_code == code, done.output
    return json.loads(done.stdout)


@pytest.fixture
async def ids(tmp_path, monkeypatch, apart) -> dict[str, list[str]]:
    """IDs of the exchanges by run, oldest first."""
    monkeypatch.chdir(tmp_path)
    said = {"a": "red", "b": "red", "c": "blue"}
    with ModelServer(answer=lambda body, choice, call: said.get(body["user"], "green")) as server:
        async with sidecar(tmp_path, server, LOGGING) as proxy:
            for name, user in (("first", "a"), ("second", "b"), ("third", "c")):
                await proxy.ask(chat(user=user, seed=1), x_evalside_run=name)
            for name in ("run-1", "run-2"):
                for number in range(4):
                    server.options.answer = f"{name if number == 0 else 'the same'} {number}"
                    await proxy.ask(chat(seed=number, stream=number == 2), x_evalside_run=name)
                server.options.answer = "more"
                await proxy.ask(chat(top_k=1 if name == "run-1" else 2), x_evalside_run=name)
            await proxy.ask(b"", "/-/runs/run-2")  # a new pass
            await proxy.ask(chat(seed=0, stream=False), x_evalside_run="run-2")
            rows = await proxy.rows()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["run"], []).append(row["id"])
    return found


def test_two_exchanges(ids) -> None:
    [first], [second], [third] = ids["first"], ids["second"], ids["third"]
    told = diff(first, second, code=1)
    assert told["request"] == [{"field": "user", "asked": '"a"', "stored": '"b"'}]
    assert told["answer"] == []
    told = diff(second, third, code=1)
    assert ([item["field"] for item in told["request"]], told["answer"]) == (["user"], ["content"])
    same = diff(first, first, code=0)
    assert (same["facts"], same["request"], same["answer"]) == ([], [], [])


def test_two_exchanges_for_people(ids) -> None:
    [second], [third] = ids["second"], ids["third"]
    told = run(second, third)
    assert told.exit_code == 1
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert 'user "b" "c"' in lines
    assert "requests differ in 1 fields" in lines
    assert "answers differ in content" in lines


def test_two_runs(ids) -> None:
    told = diff("run-1", "run-2@0", code=1)
    assert told["one"] == {"run": "run-1", "pass": 0, "requests": 5}
    assert (told["both"], told["same"], told["differ"], told["not_logged"]) == (4, 3, 1, 0)
    assert told["differ_in"] == {"content": 1}
    assert (told["only_in_one"], told["only_in_other"], told["fields"]) == (1, 1, {"top_k": 1})
    assert told["examples"] == [{"one": ids["run-1"][0], "other": ids["run-2"][0], "in": ["content"]}]
    same = diff("run-1", "run-1", code=0)
    assert (same["same"], same["differ"], same["only_in_one"]) == (5, 0, 0)


def test_two_runs_for_people(ids) -> None:
    told = run("run-1@0", "run-2@0")
    assert told.exit_code == 1
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    for line in (
        "requests of run-1@0 5",
        "asked by both 4",
        "with another answer 1",
        "only in run-2@0 1",
        "content 1",
        "top_k 1",
        f"{ids['run-1'][0]} {ids['run-2'][0]} content",
    ):
        assert line in lines, told.stdout


def test_the_latest_pass_is_meant_where_none_is_named(ids) -> None:
    told = diff("run-2", "run-2@0", code=1)
    assert (told["one"]["pass"], told["both"], told["only_in_other"]) == (1, 1, 4)


def test_beginnings_are_enough(ids) -> None:
    assert diff("fir", "fir", code=0)["one"]["run"] == "first"
    [second] = ids["second"]
    assert diff(second[:-1], second, code=0)["one"] == second


def test_a_beginning_that_several_exchanges_have_is_named(ids) -> None:
    [second], [third] = ids["second"], ids["third"]
    shared = "".join(one for one, _ in takewhile(lambda pair: pair[0] == pair[1], zip(second, third, strict=True)))
    told = run(shared, "first")
    assert told.exit_code == 2
    assert f"several begin with '{shared}' (" in told.stderr


@pytest.mark.parametrize(
    ("one", "other", "says"),
    [
        ("none", "first", "'none' is neither a run nor the ID of a logged exchange"),
        ("run-", "first", "several begin with 'run-' (run-1, run-2, …); write more of it"),
        ("first", "first@1", "run 'first' has no pass 1; its latest is 0"),
        ("first", "first@x", "what follows the @ is no number of a pass; write it like first@0"),
        ("first@", "first", "what follows the @ is no number of a pass"),
    ],
)
def test_what_cannot_be_compared_is_named(ids, one: str, other: str, says: str) -> None:
    told = run(one, other)
    assert told.exit_code == 2
    assert says in told.stderr


def test_a_run_and_an_exchange_cannot_be_compared(ids) -> None:
    told = run("first", ids["first"][0])
    assert told.exit_code == 2
    assert "one is a run and one an exchange; name two of a kind" in told.stderr
