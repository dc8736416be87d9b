import sqlite3
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.store import inventory, samples
from proxy.store.base import EntryKey, KeySource, StoreError, sample_pool
from proxy.store.inventory import Prune, Pruned, entries, entry, prunable, prune, stats
from proxy.store.reading import reading
from proxy.store.sqlite import SqliteStore
from proxy.testing.contracts import record
from tests.unit.store.bundle_data import IDENTITY, OTHER, RECEIVED, answer, contents, full_store, new_store, put, rows

SAMPLES = sample_pool("one", RECEIVED)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return full_store(tmp_path / "source.db")


def sizes(path: Path, where: str = "1") -> int:
    with closing(sqlite3.connect(path)) as db:
        return int(db.execute(f"SELECT coalesce(sum(size), 0) FROM responses WHERE {where}").fetchone()[0])


def keys(path: Path) -> set[EntryKey]:
    return {at for at, _ in contents(path)}


class TestStats:
    def test_everything_is_counted(self, path):
        with reading(path) as db:
            found = stats(db)
        size = sizes(path)
        assert found == {
            "entries": 7,
            "bytes": size,
            "pooled": 4,
            "sampled": 3,
            "oldest": 1000.0,
            "newest": 1001.0,
            "unconfirmed": 0,
            "asked": 0,
            "served": 6,
            "routes": [{"route": "chat", "entries": 7, "bytes": size}],
            "identities": [{"identity": IDENTITY, "entries": 7, "bytes": size}],
            "runs": [
                {"run": "one", "source": None, "pass": 1, "imported": False, "samples": 2, "asked": 0, "served": 4},
                {"run": "two", "source": None, "pass": 0, "imported": False, "samples": 1, "asked": 0, "served": 2},
            ],
            "losses": {},
        }

    def test_an_empty_store_has_zeros(self, tmp_path):
        with reading(new_store(tmp_path / "empty.db")) as db:
            found = stats(db)
        assert (found["entries"], found["bytes"], found["oldest"], found["runs"]) == (0, 0, None, [])

    def test_uses_of_every_pass_add_up_and_losses_are_there(self, path):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            at, _ = answer("shared")
            samples.count(db, "one", (at.key, "", 0), asked=1, served=0)
            samples.new_pass(db, "one", source=None, mode=None)
            samples.count(db, "one", (at.key, "", 0), asked=0, served=1)
            db.execute("INSERT INTO losses VALUES ('log_rows_shed', 3)")
        with reading(path) as db:
            found = stats(db)
        assert (found["asked"], found["served"]) == (1, 7)
        assert found["runs"][0]["pass"] == 2
        assert found["losses"] == {"log_rows_shed": 3}


class TestEntries:
    def listed(self, path, **wanted):
        with reading(path) as db:
            return entries(db, **({"run": None, "route": None, "limit": 100} | wanted))

    def test_the_newest_come_first(self, path):
        put(path, answer("last"))
        found = self.listed(path, limit=2)
        assert len(found) == 2
        assert found[0]["key"] == answer("last")[0].key.hex()
        assert found[0]["pool"] == ""
        assert found[0]["identity"] == IDENTITY

    def test_of_a_run_those_it_used_or_keeps(self, path):
        assert len(self.listed(path)) == 7
        assert sorted(item["pool"] for item in self.listed(path, run="one")) == ["", "", "", SAMPLES, SAMPLES]
        assert [item["pool"] for item in self.listed(path, run="two")] == [sample_pool("two", RECEIVED), ""]
        assert self.listed(path, run="on") == []

    def test_of_a_route_only_its_own(self, path):
        source = KeySource(IDENTITY, "POST", "/v1/embeddings", "", [])
        put(path, answer("e", source=source, route="embeddings"))
        assert [item["route"] for item in self.listed(path, route="embeddings")] == ["embeddings"]


class TestEntry:
    def test_a_prefix_finds_every_answer_of_its_key(self, path):
        key = answer("shared")[0].key.hex()
        for prefix in (key, key[:7], key[:8].upper()):
            with reading(path) as db:
                found = entry(db, prefix)
            assert [(item["key"], item["shape"]) for item in found] == [(key, "plain"), (key, "sse")]
        assert found[0]["body"] == answer("shared")[1].body.decode()
        assert found[0]["request"] == answer("shared")[1].request.decode()
        assert found[0]["headers"] == [["content-type", "application/json"]]

    @pytest.mark.parametrize("prefix", ["", "xyz", "0" * 65, "ab c"])
    def test_what_is_no_key_is_an_error_that_says_so(self, path, prefix):
        with reading(path) as db, pytest.raises(StoreError, match=f"'{prefix}' is not the beginning of a key"):
            entry(db, prefix)

    def test_an_unknown_one_is_named(self, path):
        with reading(path) as db, pytest.raises(StoreError, match=r"'0000000000' begins|begins with '0000000000'"):
            entry(db, "0000000000")

    def test_an_ambiguous_one_is_named_with_what_it_fits(self, path):
        put(path, *(answer(f"number {number}") for number in range(40)))
        with reading(path) as db, pytest.raises(StoreError, match=r"'1' is ambiguous: keys begin with 1.*; give more"):
            entry(db, "1")


class TestPrune:
    def test_a_run_goes_with_its_samples_and_nothing_else(self, path):
        store = SqliteStore(path)
        store.open()
        row = record("a")
        row.run = "one"
        store.append(row)
        store.close()
        before = keys(path)
        found = prunable(path, Prune(run="one"))
        assert found == Pruned(2, sizes(path, f"pool = '{SAMPLES}'"), 1)
        assert keys(path) == before
        assert prune(path, Prune(run="one")) == found
        assert keys(path) == {item for item in before if item.pool != SAMPLES}
        assert [row[0] for row in rows(path, "runs")] == ["two"]
        assert rows(path, "exchanges") == []

    def test_an_unknown_run_is_an_error(self, path):
        with pytest.raises(StoreError, match="no run 'nine'"):
            prune(path, Prune(run="nine"))

    def test_a_run_that_another_was_made_from_stays(self, path):
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            samples.new_pass(db, "heir", source="one", mode=None)
        before = keys(path)
        with pytest.raises(StoreError, match="run 'heir' was made from run 'one'"):
            prune(path, Prune(run="one"))
        assert keys(path) == before

    @pytest.mark.parametrize("step", [1, 3, 500])
    def test_what_is_old_goes_in_steps(self, path, monkeypatch, step):
        monkeypatch.setattr(inventory, "STEP", step)
        put(path, answer("young", created_at=time.time() - 50))
        found = prune(path, Prune(older_than=100))
        assert found.entries == 7
        assert [item.created_at for _, item in contents(path)] == [pytest.approx(time.time() - 50, abs=30)]
        assert prune(path, Prune(older_than=100)) == Pruned(0, 0, 0)

    def test_an_identity_goes_and_with_an_age_only_its_old_answers(self, path):
        source = KeySource("other", "POST", "/v1/chat/completions", "", [])
        now = time.time()
        put(path, answer("old", source=source), answer("new", source=source, created_at=now))
        assert prune(path, Prune(identity="other", older_than=100)).entries == 1
        assert prune(path, Prune(identity="other")).entries == 1
        assert prunable(path, Prune(identity=IDENTITY)).entries == 7

    def test_the_oldest_go_until_the_others_fit(self, tmp_path):
        path = new_store(tmp_path / "b.db")
        kept = [answer(f"{number}" * 200, pool=sample_pool("r", OTHER), sample=number) for number in range(5)]
        put(path, *kept)
        limit = sizes(path, "sample >= 3")
        assert prune(path, Prune(max_bytes=limit)).entries == 3
        assert [at.sample for at, _ in contents(path)] in ([3, 4], [4, 3])
        assert prune(path, Prune(max_bytes=limit)).entries == 0
        assert prune(path, Prune(max_bytes=0)).entries == 2

    async def test_a_sidecar_that_writes_meanwhile_loses_nothing(self, path):
        store = SqliteStore(path)
        store.open()
        store.put(*answer("live"))
        prune(path, Prune(older_than=100))
        kept = answer("live", created_at=time.time(), sample=0)
        store.put(kept[0], replace(kept[1]), replace=True)
        await store.flush()
        found, losses = await store.get(kept[0]), store.losses
        store.close()
        assert found == kept[1]
        assert losses.cache_rows_lost == 0

    def test_a_database_that_is_none_is_named(self, tmp_path):
        (tmp_path / "broken.db").write_bytes(b"no database at all" * 100)
        with pytest.raises(StoreError, match=r"broken.db cannot be used \(file is not a database\)"):
            prune(tmp_path / "broken.db", Prune(max_bytes=1))
