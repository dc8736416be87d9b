"""A recorded run in place of a model server, in a store of its own."""

import json
import multiprocessing
import signal
import urllib.error
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from proxy.app import create_app
from proxy.replay import own_folder, temporary_folder
from proxy.settings import Settings
from proxy.store.base import StoreError
from proxy.store.bundle.exporting import export_run
from proxy.testing import ModelServer, lifespan
from tests.contract.sidecar import Sidecar, chat
from tests.unit.serving import Serving, run
from tests.unit.store.bundle_data import full_store


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


@pytest.fixture
def bundle(tmp_path) -> Path:
    """A run of a model server that is gone."""
    (tmp_path / "source").mkdir()
    store = full_store(tmp_path / "source" / "evalside.db")
    export_run(store, "one", tmp_path / "one.evalside", pipeline={})
    return tmp_path / "one.evalside"


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_bundle_is_replayed_from_its_start_at_each_start_without_a_model_server(tmp_path, bundle, workers) -> None:
    for _ in range(2):
        with Serving(tmp_path, None, "--replay", bundle.name, "--workers", workers) as serving:
            content = [{"role": "user", "content": "shared"}]
            assert serving.ask(messages=content) == "hit"
            [folder] = serving.temporary.glob("evalside-replay-*")
            assert folder.stat().st_mode & 0o777 == 0o700
            assert {item.stat().st_mode & 0o777 for item in folder.iterdir() if item.is_file()} == {0o600}
            with pytest.raises(urllib.error.HTTPError) as refused:
                serving.ask(messages=[{"role": "user", "content": "never asked"}])
            assert json.load(refused.value)["error"]["code"] == "replay_miss"
            code, errors = serving.end()
        assert code == (0 if workers == "2" else 128 + signal.SIGTERM)
        assert "the record in one.evalside, no model server" in errors
        assert "Traceback" not in errors
        assert not list(serving.temporary.iterdir())
    assert not (tmp_path / ".evalside").exists()  # nothing of the operator's own was touched


def test_the_workers_of_a_replay_hand_out_each_sample_once(tmp_path, server) -> None:
    server.options.answer = lambda body, choice, call: f"draw {call}"
    with Serving(tmp_path, server.url) as serving:
        said = [serving.text("/-/runs/r", temperature=1) for _ in range(20)]
        serving.end()
    store = tmp_path / ".evalside" / "evalside.db"
    export_run(store, "r", tmp_path / "r.evalside", pipeline={})
    kept = store.read_bytes()
    with Serving(tmp_path, None, "--replay", "r.evalside", "--workers", "2") as serving:
        with ThreadPoolExecutor(20) as pool:
            again = list(pool.map(lambda _: serving.text("", temperature=1), range(20)))
        serving.end()
    assert sorted(again) == sorted(said)
    assert store.read_bytes() == kept


def test_the_store_of_a_replay_may_be_kept_and_is_not_pruned(tmp_path, bundle) -> None:
    (tmp_path / "c.yaml").write_text("replay_dir: kept\nretention: {cache_max_age_days: 0.0001}\n")
    for _ in range(2):
        with Serving(tmp_path, None, "--replay", bundle.name, "--config", "c.yaml") as serving:
            assert serving.ask(messages=[{"role": "user", "content": "shared"}]) == "hit"
            serving.end()
    assert (tmp_path / "kept" / "evalside.db").exists()


def test_check_says_what_is_replayed_and_makes_nothing(tmp_path, bundle) -> None:
    result = run(tmp_path, "check", "--replay", bundle.name)
    assert result.returncode == 0, result.stderr
    assert "upstream  the record in one.evalside, no model server" in result.stdout
    assert "store     a temporary one, removed at the end" in result.stdout
    named = run(tmp_path, "check", "--replay", bundle.name, EVALSIDE_REPLAY_DIR="kept")
    assert "store     kept/evalside.db" in named.stdout
    lone = run(tmp_path, "check", "-u", "http://x", EVALSIDE_REPLAY_DIR="kept")
    assert (lone.returncode, "replay_dir 'kept' is the store of a replay, and nothing is replayed" in lone.stderr) == (
        2,
        True,
    )
    assert not (tmp_path / ".evalside").exists()


@pytest.mark.parametrize("command", [["check"], ["serve", "--port", "0"]])
def test_a_bundle_that_cannot_be_replayed_is_a_message(tmp_path, command) -> None:
    (tmp_path / "broken").write_text("no bundle")
    broken = run(tmp_path, *command, "--replay", "broken")
    missing = run(tmp_path, *command, "--replay", "gone")
    assert (broken.returncode, missing.returncode) == (2, 2)
    assert broken.stderr.startswith("error: bundle broken is damaged, cut or no bundle")
    assert missing.stderr.startswith("error: bundle gone cannot be read (No such file or directory)")


async def test_a_bare_uvicorn_replays_in_a_store_of_its_own(tmp_path, bundle, server) -> None:
    own = [{"name": "caching", "config": {"cache_dir": str(tmp_path / "cache"), "mode": "on"}}]
    store_url = f"sqlite:///{tmp_path}/mine.db"
    app = create_app(Settings(upstream={"url": server.url}, store=store_url, replay=bundle, interceptors=own))
    async with lifespan(app):
        store = app.state.house.store.path
        proxy = Sidecar(app, server, store)
        assert (await proxy.ask(chat(messages=[{"role": "user", "content": "shared"}]))).cache == "hit"
        assert store.exists()
    assert not store.parent.exists()
    assert not (tmp_path / "mine.db").exists()
    assert not (tmp_path / "cache").exists()


def test_one_of_several_workers_needs_the_store_of_the_others(monkeypatch) -> None:
    """Each would begin with the first sample."""
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    with pytest.raises(StoreError, match="evalside serve --replay FILE --workers N"), own_folder():
        pass


def test_a_folder_is_removed_on_sigterm_too() -> None:
    before = signal.getsignal(signal.SIGTERM)
    folders: list[Path] = []

    def serve() -> None:
        with temporary_folder() as folder:
            folders.append(folder)
            assert folder.is_dir()
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(SystemExit) as ended:
        serve()
    assert ended.value.code == 128 + signal.SIGTERM
    assert not folders[0].exists()
    assert signal.getsignal(signal.SIGTERM) is before
