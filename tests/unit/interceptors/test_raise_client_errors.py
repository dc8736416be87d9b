import sqlite3
from contextlib import closing

import pytest
from pydantic import ValidationError

from proxy.interceptors.raise_client_errors import RaiseClientErrorsConfig
from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import chat, sidecar

RAISE = ["request_logging", "raise_client_errors"]


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


async def test_the_client_gets_the_servers_answer_and_the_pass_ends(tmp_path, server):
    said = {"error": {"message": "no such model"}}
    async with sidecar(tmp_path, server, RAISE) as proxy:
        server.enqueue(Reply(status=404, json=said))
        first = await proxy.ask(chat(), x_evalside_run="r")
        second = await proxy.ask(chat(), x_evalside_run="r")
        assert proxy.calls == 1
        await proxy.ask(b"{}", "/-/runs/r")
        third = await proxy.ask(chat(), x_evalside_run="r")
        rows = await proxy.rows()
    assert (first.status, first.json) == (404, said)
    assert (second.status, second.json["error"]["code"]) == (424, "run_aborted")
    assert "answered /v1/chat/completions with 404" in second.json["error"]["message"]
    assert second.header("x-should-retry") == "false"
    assert third.status == 200
    assert [row["error"] for row in rows] == [None, "run_aborted", None]


async def test_an_aborted_run_stays_so_after_a_restart(tmp_path, server):
    server.enqueue(Reply(status=400, json={}))
    async with sidecar(tmp_path, server, RAISE) as proxy:
        await proxy.ask(chat(), x_evalside_run="r")
    async with sidecar(tmp_path, server, RAISE) as proxy:
        assert (await proxy.ask(chat(), x_evalside_run="r")).status == 424
        assert (await proxy.ask(chat(), x_evalside_run="other")).status == 200


async def test_requests_that_name_no_run_go_on_and_the_findings_tell(tmp_path, server):
    async with sidecar(tmp_path, server, RAISE) as proxy:
        server.enqueue(Reply(status=400, json={}))
        assert [(await proxy.ask(chat())).status for _ in range(2)] == [400, 200]
        [finding] = (await proxy.get("/-/runs/default")).json["findings"]
    assert finding["finding"] == "aborted"
    assert "answered /v1/chat/completions with 400" in finding["text"]


@pytest.mark.parametrize(
    ("options", "stops"),
    [
        ({}, {400, 404, 422, 499}),
        ({"exclude_status_codes": [404]}, {400, 408, 422, 429, 499}),
        ({"status_codes": [500]}, {500}),
        ({"status_code_range_start": 429, "exclude_status_codes": []}, {429, 499}),
        ({"status_code_range_end": None}, {400, 404, 422, 499, 500, 599}),
        ({"status_code_range_start": None, "status_code_range_end": 404}, {200, 302, 400, 404}),
    ],
)
def test_which_statuses_stop_a_run(options, stops):
    config = RaiseClientErrorsConfig.model_validate(options)
    assert {status for status in (200, 302, 400, 404, 408, 422, 429, 499, 500, 599) if config.stops(status)} == stops


@pytest.mark.parametrize(
    "options",
    [
        {"status_codes": [408]},
        {"status_code_range_start": 500},
        {"status_code_range_start": 410, "status_code_range_end": 409},
    ],
)
def test_options_that_mean_nothing_are_refused(options):
    with pytest.raises(ValidationError):
        RaiseClientErrorsConfig.model_validate(options)


async def test_it_is_written_before_another_worker_can_be_asked(tmp_path, server, monkeypatch):
    monkeypatch.setattr("proxy.store.writer.FLUSH_INTERVAL", 3600)  # nothing else has it written
    server.enqueue(Reply(404, json={}))
    async with sidecar(tmp_path, server, ["raise_client_errors"]) as proxy:
        assert (await proxy.ask(chat(), x_evalside_run="r")).status == 404
        with closing(sqlite3.connect(tmp_path / "evalside.db")) as connection:
            [(run, reason)] = connection.execute("SELECT run, value FROM memory").fetchall()
    assert (run, reason) == ("r", "the model server answered /v1/chat/completions with 404")
