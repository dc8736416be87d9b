import sqlite3
from contextlib import closing
from dataclasses import replace

import pytest

from proxy.store import samples
from proxy.store.base import Sequence, sample_pool
from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.manifest import BundleError
from proxy.store.sqlite import SqliteStore
from tests.unit.store.bundle.making import export
from tests.unit.store.bundle_data import (
    IDENTITY,
    JSON,
    OTHER,
    RECEIVED,
    answer,
    contents,
    plain,
    put,
    rows,
    use,
)


def test_a_run_comes_back_byte_for_byte(source, target):
    done = import_bundle(target, export(source))

    of_run = [item for item in contents(source) if item[0].pool != "two/" + RECEIVED]
    expected = [(at, replace(found, run="one")) for at, found in of_run if b"foreign" not in found.request]
    assert (done.runs, done.added, done.present) == (("one",), 5, 0)
    assert contents(target) == expected


async def test_its_samples_are_replayed_in_order(source, target):
    import_bundle(target, export(source), run="again")
    at, _ = answer("drawn", pool=sample_pool("one", RECEIVED))
    store = SqliteStore(target)
    store.open()
    leases = [await store.take(Sequence("again", RECEIVED, at.key)) for _ in range(3)]
    found = [await store.get(at._replace(pool=lease.pool, sample=lease.sample)) for lease in leases]
    known = await store.identities("again")
    store.close()
    assert [lease.sample for lease in leases] == [0, 1, 2]
    assert [item and item.body for item in found] == [
        plain("answer 0 to drawn"), plain("answer 1 to drawn"), None
    ]  # fmt: skip
    assert known == [IDENTITY]


def test_what_was_imported_gives_the_same_file(source, target):
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        samples.new_pass(db, "one", source=None, mode=None)
    first = export(source)
    import_bundle(target, first)
    assert export(target, name="second").read_bytes() == first.read_bytes()


def test_bytes_that_are_no_text_survive(source, target):
    body = b'{"choices":[{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}'
    streamed = answer("binary", shape="sse", body=b": \xff\xfe\n\n" + answer(shape="sse")[1].body)
    kept = [answer("odd", body=body, headers=[*JSON, (b"x-name", b"\xe9"), (b"x-name", b"2")]), streamed]
    put(source, *kept)
    use(source, "three", *kept)
    import_bundle(target, export(source, "three"))
    assert {found.body for _, found in contents(target)} == {found.body for _, found in kept}
    assert {tuple(found.headers) for _, found in contents(target)} == {tuple(found.headers) for _, found in kept}


def test_the_same_bundle_again_changes_nothing(source, target):
    made = export(source)
    import_bundle(target, made)
    before = [rows(target, table) for table in ("responses", "runs", "uses", "run_identities")]
    again = import_bundle(target, made)
    assert (again.added, again.present) == (0, 5)
    assert [rows(target, table) for table in ("responses", "runs", "uses", "run_identities")] == before


def test_the_run_remembers_its_bundle(source, target):
    made = export(source)
    import_bundle(target, made)
    with closing(sqlite3.connect(target)) as db:
        assert db.execute('SELECT run, "pass", bundle FROM runs').fetchall() == [
            ("one", 1, read_manifest(made).checksum)
        ]


def test_an_answer_that_is_there_stays(source, target):
    put(target, answer("shared", body=plain("here first")))
    done = import_bundle(target, export(source))
    assert (done.added, done.present) == (4, 1)
    assert plain("here first") in [found.body for _, found in contents(target)]


@pytest.mark.parametrize("how", ["run", "uses", "samples"])
def test_a_name_that_is_taken_is_an_error_that_names_the_way_out(source, target, how):
    made = export(source)
    if how == "samples":
        put(target, answer("x", pool=sample_pool("one", OTHER)))
    elif how == "uses":
        use(target, "one", answer("x"))
    else:
        with closing(sqlite3.connect(target, isolation_level=None)) as db:
            samples.new_pass(db, "one", source=None, mode=None)
    before = contents(target)
    with pytest.raises(BundleError, match=r"run 'one' is another run of this store; .* --as"):
        import_bundle(target, made)
    assert contents(target) == before
    assert import_bundle(target, made, run="uno").runs == ("uno",)
    assert {at.pool for at, _ in contents(target)} >= {"", sample_pool("uno", RECEIVED)}


def test_two_bundles_with_the_same_run_do_not_mix(source, target):
    import_bundle(target, export(source, name="first"))
    put(source, answer("drawn", pool=sample_pool("one", RECEIVED), sample=2))
    with pytest.raises(BundleError, match="--as"):
        import_bundle(target, export(source, name="second"))


def test_a_dry_run_says_what_it_would_do(source, target):
    done = import_bundle(target, export(source), dry_run=True)
    assert (done.runs, done.added, done.present) == (("one",), 5, 0)
    assert contents(target) == []
    assert rows(target, "runs") == rows(target, "uses") == rows(target, "run_identities") == []


@pytest.mark.parametrize("name", ["", "a/b", "-a", "x" * 129])
def test_a_bad_name_is_refused(source, target, name):
    with pytest.raises(BundleError, match="is not a run name"):
        import_bundle(target, export(source), run=name)


async def test_a_sidecar_that_writes_meanwhile_loses_nothing(source, target):
    made = export(source)
    store = SqliteStore(target)
    store.open()
    store.put(*answer("live"))
    import_bundle(target, made)
    store.put(*answer("live too"))
    await store.flush()
    at, imported = answer("shared")
    found = await store.get(at)
    losses = store.losses
    store.close()
    assert found is not None
    assert found.body == imported.body
    assert losses.cache_rows_lost == 0
    assert len(contents(target)) == 7
