"""The commands of `evalside log`, on a store that a sidecar has left behind."""

import json
import re
from typing import Any

import pytest
from typer.testing import CliRunner

from proxy.commands.log import log_app
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar

STORE = ["--store", "sqlite:///evalside.db"]
MODIFIER = {"name": "payload_modifier", "config": {"params_to_remove": ["seed"], "params_to_add": {"text": "x" * 2000}}}


def run(*words: Any) -> Any:
    return CliRunner().invoke(log_app, [str(word) for word in words])


@pytest.fixture
async def ids(tmp_path, monkeypatch, apart) -> list[str]:
    """A store in the working directory with three exchanges of run `r1`; their IDs, oldest first."""
    monkeypatch.chdir(tmp_path)
    with ModelServer() as server:
        async with sidecar(tmp_path, server, ["request_logging", "response_logging", MODIFIER]) as proxy:
            for seed in (1, 2):
                await proxy.ask(chat(seed=seed), x_evalside_run="r1")
            await proxy.ask(chat(), x_evalside_run="r1")
            rows = await proxy.rows()
    return [row["id"] for row in rows]


def test_changes_of_a_run_are_counted_in_words(ids) -> None:
    told = run("changes", "r1", *STORE)
    assert told.exit_code == 0, told.output
    assert told.stdout.splitlines() == [
        "text added to 3 of 3 requests (payload_modifier: configured)",
        "seed dropped from 2 of 3 requests (payload_modifier: configured)",
    ]


def test_changes_as_json(ids) -> None:
    told = json.loads(run("changes", "r1", "--json", *STORE).stdout)
    assert [(item["field"], item["requests"], item["of"]) for item in told] == [("text", 3, 3), ("seed", 2, 3)]


def test_a_pass_that_is_not_there_is_named(ids) -> None:
    told = run("changes", "r1", "--pass", 1, *STORE)
    assert told.exit_code == 2
    assert "no pass 1; its latest is 0" in told.stderr


async def test_a_run_without_changes_says_so(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    with ModelServer() as server:
        async with sidecar(tmp_path, server, ["request_logging"]) as proxy:
            await proxy.ask()
    assert run("changes", "default", *STORE).stdout == "nothing was changed in run 'default'\n"


def test_the_log_is_exported_as_lines_of_json(ids, tmp_path) -> None:
    told = run("export", "--run", "r1", "-o", "out.jsonl", "--json", *STORE)
    assert json.loads(told.stdout) == {"file": "out.jsonl", "run": "r1", "exchanges": 3}
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == ids
    assert lines[0]["request"]["seed"] == 1
    assert "seed" not in lines[0]["sent"]
    assert "exchanges" in run("export", "-o", "all.jsonl", *STORE).stdout
    assert (tmp_path / "out.jsonl").stat().st_mode & 0o777 == 0o600


def test_an_export_holds_as_many_bodies_as_caching_says(ids, tmp_path) -> None:
    (tmp_path / "c.yaml").write_text(
        "interceptors: [{name: caching, config: {save_requests: false, max_saved_responses: 2}}]\n"
        "store: sqlite:///evalside.db\n"
    )
    assert run("export", "-o", "out.jsonl", "--config", "c.yaml").exit_code == 0
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [("request" in line, "response" in line) for line in lines] == [(False, True), (False, True), (False, False)]


def test_what_cannot_be_exported_is_named(ids) -> None:
    for words, says in (
        (["--run", "r9"], "there is no run 'r9'"),
        (["--run", "r1", "--pass", "1"], "no pass 1; its latest is 0"),
        (["--pass", "1"], "--pass 1 is a pass of a run; name it with --run"),
    ):
        told = run("export", "-o", "x", *words, *STORE)
        assert (told.exit_code, says in told.stderr) == (2, True)


def test_a_run_that_is_not_there_is_named(ids) -> None:
    told = run("changes", "r9", *STORE)
    assert told.exit_code == 2
    assert "there is no run 'r9'" in told.stderr


def test_a_store_that_is_not_there_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    told = run("ls", *STORE)
    assert told.exit_code == 2
    assert "there is no store at" in told.stderr


def test_exchanges_are_listed_newest_first(ids) -> None:
    told = json.loads(run("ls", "--run", "r1", "--limit", 2, "--json", *STORE).stdout)
    assert [item["id"] for item in told] == ids[:0:-1]
    table = run("ls", *STORE).stdout
    assert [identity in table for identity in ids] == [True] * 3
    assert len(re.findall(r" \d+\.\d +$", table, re.MULTILINE)) == 3, "milliseconds with one digit behind the point"
    assert json.loads(run("ls", "--run", "r", "--json", *STORE).stdout)[0]["run"] == "r1"
    unknown = run("ls", "--run", "x", *STORE)
    assert (unknown.exit_code, "there is no run 'x'" in unknown.stderr) == (2, True)
    assert run("ls", "--status", 404, "--json", *STORE).stdout.strip() == "[]"


def test_one_exchange_is_shown_with_its_changes_and_bodies(ids) -> None:
    told = run("show", ids[0][:-1], *STORE)
    lines = [" ".join(line.split()) for line in told.stdout.splitlines()]
    assert "payload_modifier request seed 1 absent configured 1" in lines
    assert any(line.startswith("payload_modifier request text absent 2002 bytes, sha256 ") for line in lines)
    assert "request_body:" in lines
    assert "sent_body:" in lines
    assert json.loads(run("show", ids[0], "--json", *STORE).stdout)["id"] == ids[0]


def test_an_exchange_that_is_not_there_is_named(ids) -> None:
    told = run("show", "nothing", *STORE)
    assert told.exit_code == 2
    assert "there is no exchange 'nothing'" in told.stderr
