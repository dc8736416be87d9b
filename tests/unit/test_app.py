import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.app import create_app
from proxy.settings import Settings
from proxy.testing import ModelServer, lifespan
from tests.contract.sidecar import CHAT, sidecar


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


async def start(app: Any) -> list[dict[str, Any]]:
    """What the app says to a server that starts it and stops it at once."""
    said: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.shutdown" if said else "lifespan.startup"}

    async def send(message: dict[str, Any]) -> None:
        said.append(message)

    await app({"type": "lifespan"}, receive, send)
    return said


def test_importing_it_does_no_io(tmp_path):
    code = "import proxy.app, os; print(os.listdir())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path, env={"PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == "[]\n"


async def test_it_starts_and_stops(tmp_path, server):
    app = create_app(Settings(upstream={"url": server.url}, store=f"sqlite:///{tmp_path}/x.db"))
    assert [message["type"] for message in await start(app)] == [
        "lifespan.startup.complete",
        "lifespan.shutdown.complete",
    ]
    assert (tmp_path / "x.db").exists()


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"interceptors": ["cahcing"]}, "did you mean 'caching'"),
        ({"store": "sqlite:////proc/no/x.db"}, "/proc/no/x.db"),
    ],
)
async def test_what_keeps_it_from_starting_is_said_in_words(tmp_path, server, settings, says):
    given = {"upstream": {"url": server.url}, "store": f"sqlite:///{tmp_path}/x.db", **settings}
    [message] = await start(create_app(Settings.model_validate(given)))
    assert message["type"] == "lifespan.startup.failed"
    assert says in message["message"]


async def test_a_bundle_that_cannot_be_replayed_is_said_in_words(tmp_path, monkeypatch):
    monkeypatch.setenv("EVALSIDE_REPLAY", "gone.evalside")
    monkeypatch.setenv("EVALSIDE_STORE", f"sqlite:///{tmp_path}/x.db")
    [message] = await start(create_app())
    assert message["type"] == "lifespan.startup.failed"
    assert "bundle gone.evalside cannot be read" in message["message"]


async def test_without_settings_they_are_loaded_at_the_start(tmp_path, server, monkeypatch):
    app = create_app()
    monkeypatch.setenv("EVALSIDE_UPSTREAM__URL", server.url)
    monkeypatch.setenv("EVALSIDE_STORE", f"sqlite:///{tmp_path}/x.db")
    async with lifespan(app):
        assert app.state.house.plan.address.origin == server.url


@pytest.mark.parametrize(
    ("path", "reaches"),
    [
        ("/health", ["/health"]),
        ("/v1/models", ["/v1/models"]),
        ("/-/runs/r1/v1/models", ["/v1/models"]),
        ("/-/live", []),
        ("/-/runs/r1", []),
        ("/-/runs/r1/exchanges", []),
        ("/-/no-such-route", []),
        ("/-", []),
    ],
)
async def test_routes_of_its_own_stay_here_and_all_others_go_on(tmp_path, server, path, reaches):
    async with sidecar(tmp_path, server) as proxy:
        await proxy.get(path)
    assert [request.path for request in server.requests] == reaches


@pytest.mark.parametrize(
    ("path", "method", "code"),
    [
        ("/-/no-such-route", "GET", "not_found"),
        ("/-/live", "DELETE", "method_not_allowed"),
        (CHAT, "POST", "invalid_json"),
    ],
)
async def test_errors_have_one_shape(tmp_path, server, path, method, code):
    async with sidecar(tmp_path, server) as proxy, proxy.exchange(path, b"{", {}, method) as exchange:
        start = await exchange.start()
        body = await exchange.read()
    assert start.status >= 400
    assert f'"code":"{code}"'.encode() in body.replace(b'": "', b'":"')
