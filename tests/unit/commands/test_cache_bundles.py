"""`evalside cache export` and `import`."""

import json
import re
import sqlite3
from contextlib import closing

from proxy.store.bundle.checking import read_manifest
from tests.unit.commands.cache_commands import URL, bad, data, good, run
from tests.unit.store.bundle_data import (
    IDENTITY,
    answer,
    contents,
    new_store,
    use,
)


class TestBundles:
    def test_a_run_travels_from_one_store_to_another(self, store, folder):
        exported = data("export", "--run", "one", "-o", "one.evalside")
        assert (exported["entries"], exported["samples"], exported["left_out"]) == (5, 2, 0)
        assert exported["checksum"] == read_manifest(folder / "one.evalside").checksum
        dry = data("import", "one.evalside", "--dry-run", "--store", "sqlite:///new/b.db")
        assert (dry["added"], dry["dry_run"], contents(folder / "new" / "b.db")) == (5, True, [])
        imported = data("import", "one.evalside", "--trust", "--as", "uno", "--store", "sqlite:///new/b.db")
        assert (imported["runs"], imported["added"], imported["already_there"]) == (["uno"], 5, 0)
        assert len(contents(folder / "new" / "b.db")) == 5
        assert data("stats", "--store", "sqlite:///new/b.db")["runs"][0]["imported"] is True
        assert "already there" in good(
            "import", "one.evalside", "--trust", "--as", "uno", "--store", "sqlite:///new/b.db"
        )

    def test_what_anyone_may_have_made_is_imported_only_on_trust(self, store, folder):
        good("export", "--run", "one", "-o", "one.evalside")
        arguments = ["import", "one.evalside", "--store", "sqlite:///new/b.db"]
        for said in ("", "n\n"):
            refused = run(*arguments, input=said)
            assert refused.exit_code == 1
            checksum = read_manifest(folder / "one.evalside").checksum[:12]
            assert f"one.evalside holds run 'one', checksum {checksum}. Nothing proves who made it" in refused.stderr
            assert f"3 deterministic answers will be served to everyone who asks {IDENTITY} the same" in refused.stderr
            assert contents(folder / "new" / "b.db") == []
        assert run(*arguments, input="y\n").exit_code == 0
        assert len(contents(folder / "new" / "b.db")) == 5

    def test_the_beginning_of_a_run_s_name_is_enough(self, store, folder):
        assert data("export", "--run", "tw", "-o", "two.evalside")["run"] == "two"
        assert read_manifest(folder / "two.evalside").run == "two"
        assert data("ls", "--run", "tw") == data("ls", "--run", "two") != []
        assert "the store has no run 'nine'" in bad("ls", "--run", "nine")
        with closing(sqlite3.connect(store)) as db, db:
            db.execute("INSERT INTO runs (run, pass, created_at) VALUES ('twenty', 0, 0), ('o', 0, 0)")
        assert "several runs begin with 'tw' (twenty, two); write more of the name" in bad("ls", "--run", "tw")
        assert data("export", "--run", "one", "-o", "one.evalside")["run"] == "one"
        assert data("ls", "--run", "o") == []  # a whole name, though others begin so

    def test_the_manifest_has_the_pipeline_without_secrets(self, store, folder, monkeypatch):
        monkeypatch.setenv("MY_KEY", "a-secret-key-of-mine")
        (folder / "c.yaml").write_text(
            f"upstream: {{url: {URL}, api_key_name: MY_KEY}}\n"
            "interceptors: [caching, {name: system_message, config: {system_message: say a-secret-key-of-mine}}]\n"
        )
        good("export", "-c", "c.yaml", "-o", "all.evalside")
        pipeline = read_manifest(folder / "all.evalside").pipeline
        names = [item["name"] for item in pipeline["interceptors"]]
        assert names == ["system_message", "endpoint", "caching", "damping"]
        assert re.fullmatch("[0-9a-f]{16}", pipeline["fingerprint"])
        assert "a-secret-key-of-mine" not in json.dumps(pipeline)

    def test_a_capability_profile_is_frozen_in_it(self, store, folder, monkeypatch):
        monkeypatch.setenv("MY_KEY", "a-secret-key-of-mine")
        (folder / "c.yaml").write_text(f"upstream: {{url: {URL}, api_key_name: MY_KEY}}\n")
        probe = {"name": "stop", "verdict": "supported", "evidence": "a-secret-key-of-mine"}
        profile = {"model": "m", "probes": [probe]}
        (folder / "profile.json").write_text(json.dumps(profile))
        good("export", "--run", "one", "-c", "c.yaml", "-o", "one.evalside", "--capabilities", "profile.json")
        kept = read_manifest(folder / "one.evalside").capabilities
        assert kept == {"model": "m", "probes": [{**probe, "evidence": "[redacted]"}]}
        imported = data("import", "one.evalside", "--trust", "--store", "sqlite:///new/b.db")
        assert imported["added"] == 5
        for text, says in (("[]", "is not a JSON object"), ("{", "is not JSON")):
            (folder / "profile.json").write_text(text)
            assert says in bad("export", "-o", "x", "--capabilities", "profile.json")
        (folder / "profile.json").write_text("{}")
        assert "--jsonl writes none" in bad("export", "-o", "x", "--jsonl", "--capabilities", "profile.json")

    def test_pairs_are_lines_of_json(self, store, folder):
        assert data("export", "--run", "two", "--jsonl", "-o", "two.jsonl")["pairs"] == 2
        lines = (folder / "two.jsonl").read_text().splitlines()
        assert {json.loads(line)["route"] for line in lines} == {"chat"}
        assert "pairs" in good("export", "--jsonl", "-o", "all.jsonl")

    def test_pairs_hold_as_many_requests_and_answers_as_caching_says(self, store, folder, monkeypatch):
        monkeypatch.setenv("MY_KEY", "question")  # a word of the requests
        for options, held in (
            ("", [("request", "response")] * 2),
            ("save_responses: false, max_saved_requests: 1", [("request",), ()]),
            ("save_requests: false, max_saved_requests: 5, max_saved_responses: 1", [("response",), ()]),
        ):
            (folder / "c.yaml").write_text(
                f"upstream: {{url: {URL}, api_key_name: MY_KEY}}\n"
                f"interceptors: [{{name: caching, config: {{{options}}}}}]\n"
            )
            good("export", "--run", "two", "--jsonl", "-o", "two.jsonl", "-c", "c.yaml")
            lines = [json.loads(line) for line in (folder / "two.jsonl").read_text().splitlines()]
            assert [tuple(name for name in ("request", "response") if name in line) for line in lines] == held
            assert "question" not in (folder / "two.jsonl").read_text()

    def test_mistakes_are_named(self, store, folder):
        assert "no run 'nine'" in bad("export", "--run", "nine", "-o", "x")
        good("export", "--run", "one", "-o", "one.evalside")
        use(new_store(folder / "b.db"), "one", answer())
        assert "--as" in bad("import", "one.evalside", "--trust", "--store", "sqlite:///b.db")
        (folder / "text").write_text("hello")
        assert "bundle text is damaged" in bad("import", "text")
