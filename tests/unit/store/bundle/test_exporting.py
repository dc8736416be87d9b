import hashlib
import sqlite3
import stat
import zipfile
from contextlib import closing

import pytest

from proxy import __version__
from proxy.core.document import parse
from proxy.store import samples
from proxy.store.base import KeySource, sample_pool
from proxy.store.bundle import exporting
from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.exporting import export_pairs, export_run
from proxy.store.bundle.manifest import BundleError
from proxy.wire.key import canonical
from tests.unit.store.bundle.making import export
from tests.unit.store.bundle_data import (
    IDENTITY,
    PIPELINE,
    RECEIVED,
    answer,
    contents,
    put,
    use,
)


def test_the_same_run_gives_the_same_file(source):
    assert export(source, name="a").read_bytes() == export(source, name="b").read_bytes()


def test_the_file_is_for_its_owner_alone_and_nothing_else_is_left(source):
    made = export(source, name="made")
    assert stat.S_IMODE(made.stat().st_mode) == 0o600
    assert [path.name for path in source.parent.iterdir() if "made" in path.name] == ["made"]


def test_it_says_what_is_in_the_bundle(source):
    made = export(source)
    found = read_manifest(made)
    assert (found.run, found.number, found.evalside, found.created) == ("one", 1, __version__, 1001.0)
    assert found.models == ("m",)
    assert found.pipeline == PIPELINE
    assert found.capabilities is None
    kept = [response for at, response in contents(source) if at.pool in {"", "one/" + RECEIVED}]
    size = sum(len(item.request) + len(item.body) for item in kept if b"foreign" not in item.request)
    assert found.counts.model_dump() == {
        "entries": 5, "deterministic": 3, "samples": 2, "bytes": size, "left_out": 0
    }  # fmt: skip
    [identity] = found.identities
    assert (identity.name, identity.server, identity.facts) == (IDENTITY, "llamacpp", {"a": "1", "b": "2"})
    with zipfile.ZipFile(made) as archive:
        entries = archive.read("entries.jsonl")
    assert found.members.entries.model_dump() == {
        "size": len(entries), "sha256": hashlib.sha256(entries).hexdigest()
    }  # fmt: skip


def test_requests_that_name_no_model_add_none(source):
    request = canonical({"messages": [], "temperature": 0})
    put(source, answer(request=request))
    use(source, "three", answer(request=request))
    assert read_manifest(export(source, "three")).models == ()


def test_what_an_import_would_refuse_is_left_out_and_counted(source, monkeypatch):
    pool = sample_pool("odd", RECEIVED)
    secret = KeySource(IDENTITY, "POST", "/v1/chat/completions", "", [("authorization", "Bearer secret-of-mine")])
    put(
        source,
        answer("good", pool=pool),
        answer("cut", pool=pool, body=b'{"choices":'),
        answer("secret", pool=pool, source=secret),
        answer("of before runs", pool="odd"),
        answer("of before identities", pool=pool, source=KeySource("", "POST", "/v1/chat/completions", "", [])),
        answer("refused", pool=pool, status=404),
        answer("damaged", pool=pool, upstream_ms=666.0),
        answer("long" * 1000, pool=pool),
    )
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("UPDATE responses SET body = x'77' WHERE upstream_ms = 666")
    monkeypatch.setattr(exporting, "LONGEST_LINE", 4000)
    made = export(source, "odd")
    counts = read_manifest(made).counts
    assert (counts.entries, counts.left_out) == (1, 7)
    with zipfile.ZipFile(made) as archive:
        assert all(b"secret-of-mine" not in archive.read(name) for name in archive.namelist())


@pytest.mark.parametrize(("run", "message"), [("nine", "no run 'nine'"), ("bare", "nothing to export of run 'bare'")])
def test_a_run_with_nothing_to_give_is_an_error_and_no_file(source, run, message):
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        samples.new_pass(db, "bare", source=None, mode=None)
    with pytest.raises(BundleError, match=message):
        export(source, run, "nothing")
    assert not [path for path in source.parent.iterdir() if "nothing" in path.name]


def test_a_folder_that_is_not_there_is_named(source):
    with pytest.raises(BundleError, match=r"gone/x cannot be written \(No such file"):
        export_run(source, "one", source.parent / "gone" / "x", pipeline={})


def test_pairs_are_lines_of_json_with_bodies_as_documents(source):
    put(source, answer("of nobody", pool="default", body=b'{"n": 1e400, "big": 18446744073709551617}'))
    target = source.with_name("pairs.jsonl")
    assert export_pairs(source, None, target) == 8
    found = [parse(line).value for line in target.read_bytes().splitlines()]
    assert {item["run"] for item in found} == {None, "one", "two", "default"}
    assert all(item["request"]["model"] == "m" for item in found)
    assert [item["response"][:6] for item in found if item["shape"] == "sse"] == ["data: "]
    assert b'"n":1e400,"big":18446744073709551617' in target.read_bytes()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert export_pairs(source, "two", target) == 2
