import sqlite3
from contextlib import closing

import pytest

from proxy.dialects.frozen import KEY, KIND, Frozen, read_frozen
from proxy.store.base import StoreError
from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.exporting import export_run
from proxy.store.bundle.importing import import_bundle
from proxy.store.bundle.profiles import adopt_apart
from proxy.store.memories import recall, remember
from tests.unit.commands.cache_commands import good
from tests.unit.store.bundle.making import export
from tests.unit.store.bundle_data import PIPELINE, new_store

ONE = Frozen(identity="i", dialect="tgi", context_length=8, dropped={"chat": ["top_k"]})
TWO = Frozen(identity="i", dialect="vllm")


def keep(db, run, text):
    with closing(sqlite3.connect(db)) as connection, connection:
        remember(connection, (run, KIND, KEY), text, 1.0, None)


def kept(db, run):
    with closing(sqlite3.connect(db)) as connection:
        text = recall(connection, (run, KIND, KEY))
    return None if text is None else read_frozen(text)


def test_a_run_takes_its_profile_along_under_another_name_too(source, target):
    keep(source, "one", ONE.text())
    keep(source, "two", TWO.text())
    made = export(source)

    import_bundle(target, made)
    import_bundle(target, made, run="copy")

    assert read_manifest(made).profiles == {"one": ONE}
    assert [kept(target, run) for run in ("one", "copy", "two")] == [ONE, ONE, None]


def test_a_bundle_of_everything_has_them_all(source, target):
    keep(source, "one", ONE.text())
    keep(source, "two", TWO.text())
    keep(source, "odd", '{"format": 9}')
    made = export(source, None)

    import_bundle(target, made)

    assert read_manifest(made).profiles == {"one": ONE, "two": TWO}
    assert [kept(target, run) for run in ("one", "two", "odd")] == [ONE, TWO, None]


def test_a_profile_that_is_there_stays(source, target):
    keep(source, "one", ONE.text())
    keep(target, "one", TWO.text())

    import_bundle(target, export(source))

    assert kept(target, "one") == TWO


def test_a_dry_run_leaves_none(source, target):
    keep(source, "one", ONE.text())

    import_bundle(target, export(source), dry_run=True)

    assert kept(target, "one") is None


def test_they_may_be_in_another_database_than_the_answers(source, tmp_path):
    log, other = new_store(tmp_path / "log.db"), new_store(tmp_path / "other.db")
    keep(log, "one", ONE.text())
    made = tmp_path / "made"

    export_run(source, "one", made, pipeline=PIPELINE, memory=log)
    adopt_apart(other, {"one": None, "copy": "one"}, read_manifest(made).profiles)

    assert [kept(other, run) for run in ("one", "copy")] == [ONE, ONE]
    assert export_run(source, "one", made, pipeline=PIPELINE, memory=tmp_path / "absent").profiles is None


def test_a_database_that_is_none_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="nothing was changed"):
        adopt_apart(tmp_path / "new.db", {"one": None}, {"one": ONE})


def test_the_command_takes_it_from_and_to_the_database_with_the_log(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        caching = f"{{name: caching, config: {{cache_dir: {folder}/own}}}}"
        (tmp_path / f"{folder}.yaml").write_text(f"store: sqlite:///{folder}/log.db\ninterceptors: [{caching}]\n")
    (tmp_path / "a" / "own").mkdir()
    source.rename(tmp_path / "a" / "own" / "cache.db")
    keep(new_store(tmp_path / "a" / "log.db"), "one", ONE.text())

    good("export", "--run", "one", "-o", "made", "-c", "a.yaml")
    good("import", "made", "--as", "uno", "--trust", "-c", "b.yaml")

    assert kept(tmp_path / "b" / "log.db", "uno") == ONE
