import json
import os
import re
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from typing import Any

import pytest

from proxy.store import samples
from proxy.store.base import sample_pool
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar
from tests.unit.commands.cache_commands import ROOT, URL, bad, data, good, run
from tests.unit.store.bundle_data import (
    IDENTITY,
    RECEIVED,
    answer,
    contents,
    new_store,
    plain,
    put,
)


class TestWhichStore:
    def test_without_any_configuration_it_is_the_default_one(self, store):
        assert data("stats")["entries"] == 7

    def test_the_option_outranks_the_variable_which_outranks_the_file(self, folder, monkeypatch):
        for name, count in (("option", 1), ("variable", 2), ("file", 3)):
            put(new_store(folder / f"{name}.db"), *(answer(str(number)) for number in range(count)))
        (folder / "c.yaml").write_text("store: sqlite:///file.db\n")
        assert data("stats", "-c", "c.yaml")["entries"] == 3
        monkeypatch.setenv("EVALSIDE_CONFIG", "c.yaml")
        assert data("stats")["entries"] == 3
        monkeypatch.setenv("EVALSIDE_STORE", "sqlite:///variable.db")
        assert data("stats")["entries"] == 2
        assert data("stats", "--store", "sqlite:///option.db")["entries"] == 1

    @pytest.mark.parametrize("upstream", ["", f"upstream: {{url: {URL}}}\n"])
    def test_it_is_the_cache_dir_where_caching_has_one(self, folder, upstream):
        (folder / "own").mkdir()
        put(new_store(folder / "own" / "cache.db"), answer())
        (folder / "c.yaml").write_text(
            upstream + "interceptors: [request_logging, {name: caching, config: {cache_dir: own}}]\n"
        )
        assert data("stats", "-c", "c.yaml")["entries"] == 1

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("stor: sqlite:///a.db\n", "unknown key 'stor'; did you mean 'store'"),
            ("upstream: {namespace: n}\n", "'upstream.url' is missing"),
            ("interceptors: [cashing]\n", "unknown interceptor 'cashing'"),
            ("store: postgresql://h/d\n", "PostgreSQL is not supported"),
            ("{", "is not YAML"),
        ],
    )
    def test_a_wrong_configuration_is_an_error(self, folder, text, message):
        (folder / "c.yaml").write_text(text)
        assert message in bad("stats", "-c", "c.yaml")

    def test_an_unknown_variable_is_an_error_with_or_without_an_upstream(self, monkeypatch):
        monkeypatch.setenv("EVALSIDE_STOR", "x")
        assert "unknown variable 'EVALSIDE_STOR'" in bad("stats")

    @pytest.mark.parametrize(
        "arguments", [["stats"], ["ls"], ["show", "ab"], ["export", "-o", "x"], ["prune", "--run", "r"]]
    )
    def test_a_store_that_is_not_there_is_an_error_and_is_not_made(self, folder, arguments):
        assert "there is no store at nowhere.db" in bad(*arguments, "--store", "sqlite:///nowhere.db")
        assert list(folder.iterdir()) == []

    def test_a_file_that_is_no_store_is_an_error(self, folder):
        (folder / "a.db").write_bytes(b"no database at all" * 100)
        assert "a.db is not usable" in bad("stats", "--store", "sqlite:///a.db")


class TestStats:
    def test_people_get_tables(self, store):
        shown = good("stats")
        for part in ("answers", "deterministic", "hits served", "chat", IDENTITY, "one", "two", "1970-01-01 00:16:40Z"):
            assert part in shown

    def test_programs_get_json(self, store):
        found = data("stats")
        assert (found["entries"], found["pooled"], found["sampled"], found["served"]) == (7, 4, 3, 6)
        assert [item["run"] for item in found["runs"]] == ["one", "two"]


class TestLs:
    def test_it_lists_what_is_asked_for(self, store):
        shown = good("ls")
        assert answer("shared")[0].key.hex()[:12] in shown
        assert sample_pool("one", RECEIVED) in shown
        assert len(data("ls", "--limit", "3")) == 3
        assert len(data("ls", "--run", "one")) == 5
        assert data("ls", "--route", "embeddings") == []

    def test_an_unknown_route_is_named_with_the_known(self, store):
        assert "--route 'chats' is none; there are chat, completions" in bad("ls", "--route", "chats")


class TestShow:
    def test_it_shows_facts_and_the_beginning_of_the_bodies(self, store):
        at, response = answer("x" * 400)
        put(store, (at, response))
        shown = good("show", at.key.hex()[:10])
        assert at.key.hex() in shown
        assert "content-type: application/json" in shown
        assert "x" * 100 in shown
        assert "x" * 400 not in shown
        assert "--body shows them all" in shown
        assert "x" * 400 in good("show", at.key.hex()[:10], "--body")

    def test_programs_get_bodies_where_they_ask(self, store):
        key = answer("shared")[0].key.hex()
        assert [item["shape"] for item in data("show", key)] == ["plain", "sse"]
        assert "body" not in data("show", key)[0]
        assert data("show", key, "--body")[0]["body"] == plain("answer 0 to shared").decode()

    def test_no_answer_speaks_to_the_terminal(self, store):
        at, response = answer("evil", body=plain("\x1b]0;owned\x07 [red]bold[/red]").replace(b"\\u001b", b"\x1b"))
        put(store, (at, response))
        shown = good("show", at.key.hex(), "--body")
        assert "\x1b" not in shown
        assert "\\x1b]0;owned" in shown
        assert "[red]bold[/red]" in shown

    def test_an_unknown_key_is_named(self, store):
        assert "begins with '00000000'" in bad("show", "00000000")


class TestKey:
    @pytest.fixture
    def body(self, folder) -> dict[str, Any]:
        return {"model": "m", "messages": [{"role": "user", "content": "shared"}], "temperature": 0}

    def ask(self, body: object, *arguments: str) -> Any:
        return data("key", "-", *arguments, input=json.dumps(body))

    def test_it_is_the_key_of_the_store(self, body, folder):
        at, response = answer("shared")
        (folder / "body.json").write_text(json.dumps(body | {"stream": True, "user": "u"}))
        found = data("key", "body.json", "--identity", IDENTITY)
        assert (found["key"], found["canonical"]) == (at.key.hex(), response.request.decode())
        assert (found["cache"], found["why"], found["note"]) == ("deterministic", "temperature is 0", "")
        shown = good("key", "body.json", "--identity", IDENTITY)
        assert at.key.hex() in shown
        assert response.request.decode() in shown

    def test_the_identity_is_the_namespace_else_the_url_with_a_word_on_it(self, body, monkeypatch):
        monkeypatch.setenv("EVALSIDE_UPSTREAM__URL", "http://localhost:8080")
        found = self.ask(body)
        assert found["identity"] == URL
        assert "probed identity" in found["note"]
        assert found["key"] == self.ask(body, "--identity", URL)["key"]
        monkeypatch.setenv("EVALSIDE_UPSTREAM__NAMESPACE", "mine")
        assert (self.ask(body)["identity"], self.ask(body)["note"]) == ("mine", "")

    def test_without_a_model_server_the_identity_has_to_be_named(self, body):
        assert "name one with --identity" in bad("key", "-", input=json.dumps(body))

    @pytest.mark.parametrize(
        ("changes", "cache", "why"),
        [
            ({"temperature": 0.5}, "sampled", "temperature is 0.5, and only the number 0 is deterministic"),
            ({"temperature": None}, "sampled", "temperature is null"),
            ({"previous_response_id": "r"}, "bypass", "'previous_response_id' depends on state of the server"),
        ],
    )
    def test_it_says_what_the_cache_would_do_and_why(self, body, changes, cache, why):
        found = self.ask(body | changes, "--identity", "i")
        assert found["cache"] == cache
        assert found["why"].startswith(why)
        assert (found["key"] is None) == (cache == "bypass")

    def test_people_are_told_of_a_bypass_too(self):
        shown = good("key", "-", "--identity", "i", input='{"previous_response_id": "r"}')
        assert "bypass" in shown
        assert "canonical form" not in shown

    def test_other_reasons_are_told_apart(self, body, folder):
        del body["temperature"]
        assert self.ask(body, "--identity", "i")["why"] == "there is no temperature"
        found = self.ask({"input": "a"}, "--identity", "i", "--path", "/embeddings")
        assert (found["cache"], found["why"], found["path"]) == (
            "deterministic",
            "route 'embeddings' has no sampling",
            "/v1/embeddings",
        )
        (folder / "c.yaml").write_text("interceptors: [{name: caching, config: {deterministic: never}}]\n")
        found = self.ask({"temperature": 0}, "--identity", "i", "-c", "c.yaml")
        assert (found["cache"], found["why"]) == ("sampled", "caching has deterministic: never")

    def test_what_cannot_be_asked_is_an_error(self, body):
        assert "'gone.json' cannot be read (No such file" in bad("key", "gone.json", "--identity", "i")
        assert "not JSON" in bad("key", "-", "--identity", "i", input="{")
        assert "must be a JSON object" in bad("key", "-", "--identity", "i", input="[]")
        assert "--path '/x' runs no pipeline" in bad("key", "-", "--path", "/x", input="{}")


class TestPrune:
    def test_it_asks_first(self, store):
        declined = run("prune", "--run", "one", input="n\n")
        assert declined.exit_code == 1
        assert "Delete 2 answers" in declined.stderr
        assert len(contents(store)) == 7
        assert "yes" in good("prune", "--run", "one", input="y\n")
        assert len(contents(store)) == 5

    def test_a_dry_run_only_says_it(self, store):
        assert data("prune", "--max-size", "0b", "--dry-run") == {
            "answers": 7,
            "bytes": data("stats")["bytes"],
            "log_rows": 0,
            "deleted": False,
        }
        assert len(contents(store)) == 7

    @pytest.mark.parametrize(
        ("arguments", "gone"),
        [
            (["--older-than", "30d"], 7),
            (["--older-than", "1.5h", "--identity", IDENTITY], 7),
            (["--older-than", "30d", "--identity", "other"], 0),
            (["--identity", IDENTITY], 8),
            (["--max-size", "1 GiB"], 0),
            (["--max-size", "0KB"], 8),
        ],
    )
    def test_it_deletes_what_is_named(self, store, arguments, gone):
        put(store, answer("young", created_at=time.time()))
        assert data("prune", *arguments, "--yes")["answers"] == gone
        assert len(contents(store)) == 8 - gone

    @pytest.mark.parametrize(
        "arguments", [[], ["--run", "one", "--identity", "i"], ["--max-size", "1GB", "--older-than", "3d"]]
    )
    def test_one_way_at_a_time(self, store, arguments):
        assert "say what to delete: --run, or --max-size, or" in bad("prune", "--yes", *arguments)

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--older-than", "30"], "'30' is not a number with one of s, m, h, d, w; write it like 30d"),
            (["--older-than", "x"], "'x' is not a number"),
            (["--max-size", "2 XB"], "'2 XB' is not a number with one of b, kb, mb, gb, tb, kib"),
        ],
    )
    def test_amounts_need_their_units(self, store, arguments, message):
        assert message in bad("prune", "--yes", *arguments)

    def test_a_run_that_others_need_stays(self, store):
        with closing(sqlite3.connect(store, isolation_level=None)) as db:
            samples.new_pass(db, "heir", source="one", mode=None)
        assert "run 'heir' was made from run 'one'" in bad("prune", "--run", "one", "--yes")


async def test_a_run_of_one_sidecar_is_replayed_by_another(folder):
    """Three samples in their order, and a deterministic answer in another shape."""
    (folder / "a").mkdir()
    (folder / "b").mkdir()
    with ModelServer() as server:
        async with sidecar(folder / "a", server, upstream={"namespace": "mine"}) as first:
            drawn = [(await first.ask(chat(temperature=0.7), x_evalside_run="r")).json for _ in range(3)]
            greedy = await first.ask(chat(), x_evalside_run="r")
        assert self_made_key(chat()) == greedy.header("x-evalside-cache-key")
        data("export", "--run", "r", "-o", "r.evalside", "--store", f"sqlite:///{first.database}")
        data("import", "r.evalside", "--trust", "--store", "sqlite:///b/evalside.db")
        calls = len(server.generation_requests)
        async with sidecar(folder / "b", server, upstream={"namespace": "mine"}) as second:
            again = [await second.ask(chat(temperature=0.7), x_evalside_run="r") for _ in range(3)]
            streamed = await second.ask(chat(stream=True))
        assert [item.json for item in again] == drawn
        assert {item.cache for item in [*again, streamed]} == {"hit"}
        assert len(server.generation_requests) == calls


def self_made_key(body: dict[str, Any]) -> str:
    return str(data("key", "-", "--identity", "mine", input=json.dumps(body))["key"])


def test_every_command_and_option_says_what_it_does():
    for name in ("stats", "ls", "show", "key", "export", "import", "prune"):
        shown = good(name, "--help")
        assert "--config" in shown
        assert "--store" in shown
        assert "--json" in shown
        for line in shown.splitlines():
            if re.search(r"--[a-z]", line):
                assert re.search(r"[a-z].*[.\]]", line.rpartition("--")[2]), line


def test_it_runs_as_a_program(store, folder):
    code = "from proxy.commands.cache import cache_app; cache_app()"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "EVALSIDE_STORE": f"sqlite:///{store}"}
    done = subprocess.run(
        [sys.executable, "-c", code, "stats", "--json"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["entries"] == 7
