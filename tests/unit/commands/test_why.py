"""The command `why`, on a store that a sidecar has left behind."""

import json
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from proxy.commands.why import why
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar

command = typer.Typer()
command.command()(why)


def run(*words: Any, stdin: bytes | None = None) -> Any:
    return CliRunner().invoke(command, [str(word) for word in words], input=stdin)


@pytest.fixture
async def ids(tmp_path, monkeypatch) -> list[str]:
    """A store in the working directory with two misses, a hit and a sampled answer; their IDs, oldest first."""
    monkeypatch.chdir(tmp_path)
    with ModelServer() as server:
        async with sidecar(tmp_path, server, upstream={"namespace": "here"}) as proxy:
            for seed in (1, 2, 2):
                await proxy.ask(chat(seed=seed, tools=[{"type": "function", "a.b": "[/x]" * seed}]))
            await proxy.ask(chat(seed=1, temperature=1, tools=[{"type": "function", "a.b": "[/x]"}]))
            rows = await proxy.rows()
    return [row["id"] for row in rows]


def test_a_logged_miss_is_explained_in_a_table(ids) -> None:
    told = run(ids[1], "--store", "sqlite:///evalside.db")
    assert told.exit_code == 0, told.output
    lines = [
        [cell.strip() for cell in line.strip("│┃").replace("┃", "│").split("│")] for line in told.stdout.splitlines()
    ]
    assert ["field", "asked", "stored"] in lines
    assert ["seed", "2", "1"] in lines
    assert ['tools[0]["a.b"]', '"[/x][/x]"', '"[/x]"'] in lines
    assert "(of 2 compared)" in told.stdout


def test_json_is_what_the_route_says(ids) -> None:
    told = json.loads(run(ids[1], "--store", "sqlite:///evalside.db", "--json").stdout)
    assert [field["field"] for field in told["nearest"]["fields"]] == ["seed", 'tools[0]["a.b"]']


def test_the_store_and_the_namespace_are_those_of_the_configuration(ids, tmp_path) -> None:
    config = tmp_path / "proxy.yaml"
    config.write_text("upstream: {url: 'http://localhost:1', namespace: elsewhere}\nstore: sqlite:///./evalside.db\n")
    request = tmp_path / "request.json"
    request.write_text(json.dumps(chat(seed=1, tools=[{"type": "function", "a.b": "[/x]"}])))
    told = json.loads(run(request, "--config", config, "--json").stdout)
    assert [(field["field"], field["asked"]) for field in told["nearest"]["fields"]] == [("identity", '"elsewhere"')]
    both = json.loads(run(request, "--config", config, "--store", "sqlite:///evalside.db", "--json").stdout)
    assert both == told


async def test_a_caching_s_own_folder_is_looked_into(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    pipeline = [{"name": "caching", "config": {"cache_dir": str(tmp_path / "cache")}}]
    with ModelServer() as server:
        async with sidecar(tmp_path, server, pipeline, upstream={"namespace": "here"}) as proxy:
            await proxy.ask(chat(seed=1))
    config = tmp_path / "proxy.yaml"
    config.write_text(
        "upstream: {url: 'http://localhost:1', namespace: here}\nstore: sqlite:///./evalside.db\n"
        "interceptors: [{name: caching, config: {cache_dir: ./cache}}]\n"
    )
    told = json.loads(run("-", "--config", config, "--json", stdin=json.dumps(chat(seed=2)).encode()).stdout)
    assert [field["field"] for field in told["nearest"]["fields"]] == ["seed"]


def test_what_is_stored_already_is_said_in_words(ids) -> None:
    body = json.dumps(chat(seed=1, tools=[{"type": "function", "a.b": "[/x]"}])).encode()
    told = run("-", "--store", "sqlite:///evalside.db", stdin=body)
    assert "Nothing differs, unless it is the model server: it is an answer of here." in told.stdout


def test_what_the_cache_itself_said_stands_before_the_table(ids) -> None:
    told = run(ids[3], "--store", "sqlite:///evalside.db")
    assert told.stdout.startswith("reason    it is sampled")
    assert "after this request" not in told.stdout


def test_one_that_was_stored_later_is_said_to_be(ids) -> None:
    assert "compared), stored after this request" in run(ids[0], "--store", "sqlite:///evalside.db").stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nothing"], "'nothing' is neither a file nor the ID of a logged exchange"),
        (["0"], "several exchanges begin with '0'"),
        (["."], "'.' cannot be read (Is a directory)"),
        (["-", "--path", "/v1/models"], "'/v1/models' is not a pipeline route"),
        (["-"], "the request cannot be cached: the request body is not JSON"),
        (["-", "--store", "sqlite:///none.db"], "none.db cannot be read"),
        (["-", "--store", "postgres://x"], "PostgreSQL is not supported yet"),
        (["-", "--config", "none.yaml"], "none.yaml"),
    ],
)
def test_what_cannot_be_explained_is_an_error_that_says_so(ids, words, said) -> None:
    words = [ids[0][:1] if word == "0" else word for word in words]
    said = said.replace("'0'", f"'{ids[0][:1]}'")
    options = [] if {"--store", "--config"} & set(words) else ["--store", "sqlite:///evalside.db"]
    told = run(*words, *options, stdin=b"{")
    assert told.exit_code == 2
    assert said in told.stderr


def test_a_hit_needs_no_explanation(ids) -> None:
    told = run(ids[2], "--store", "sqlite:///evalside.db")
    assert told.exit_code == 2
    assert f"exchange '{ids[2]}' is no miss: the cache says 'hit'" in told.stderr
