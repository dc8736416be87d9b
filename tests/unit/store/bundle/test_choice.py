import sqlite3
from contextlib import closing

import pytest

from proxy.store import samples
from proxy.store.base import sample_pool
from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.manifest import BundleError
from tests.unit.store.bundle.making import export
from tests.unit.store.bundle_data import (
    IDENTITY,
    RECEIVED,
    answer,
    contents,
    plain,
    put,
    rows,
    use,
)


def test_a_run_made_from_another_takes_its_samples_along_nearest_first(source, target):
    heir = sample_pool("heir", RECEIVED)
    put(source, answer("drawn", pool=heir, sample=1, body=plain("nearest")))
    with closing(sqlite3.connect(source, isolation_level=None)) as db:
        samples.new_pass(db, "heir", source="one", mode=None)
    made = export(source, "heir")
    import_bundle(target, made)
    assert [(at.pool, at.sample, found.body) for at, found in contents(target)] == [
        (heir, 0, plain("answer 0 to drawn")),
        (heir, 1, plain("nearest")),
    ]
    assert [item.name for item in read_manifest(made).identities] == [IDENTITY]


def test_everything_comes_with_every_run(source, target):
    made = export(source, None)
    done = import_bundle(target, made)
    assert read_manifest(made).run is None
    assert (done.runs, done.added) == (("one", "two"), 7)
    assert [(at, found.body) for at, found in contents(target)] == [(at, found.body) for at, found in contents(source)]
    assert [row[:2] for row in rows(target, "run_identities")] == [("one", IDENTITY), ("two", IDENTITY)]
    assert import_bundle(target, made).added == 0
    with pytest.raises(BundleError, match=r"holds every run .* without --as"):
        import_bundle(target, made, run="x")


def test_an_identity_that_only_answers_name_is_there_too(source):
    [identity] = read_manifest(export(source, "two")).identities
    assert (identity.name, identity.server, identity.first_at) == (IDENTITY, "", 1000.0)


def test_of_the_default_run_only_what_everybody_shares_is_exported(source, target):
    put(source, answer("never served", pool="default"))
    use(source, "default", answer("shared"), answer("never served", pool="default"))
    made = export(source, "default")
    assert read_manifest(made).counts.model_dump(include={"entries", "samples", "left_out"}) == {
        "entries": 2, "samples": 0, "left_out": 1
    }  # fmt: skip
    assert import_bundle(target, made).runs == ("default",)
