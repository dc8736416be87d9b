import json
import stat

import pytest

from proxy.testing import ModelServer, Reply
from tests.contract.sidecar import chat, sidecar


@pytest.fixture
def server():
    with ModelServer() as running:
        yield running


def dump(path, **options):
    return [{"name": "http_pairs_dump", "config": {"dump_path": str(path), **options}}]


async def test_the_first_and_every_failed_exchange_are_kept(tmp_path, server):
    path = tmp_path / "new" / "pairs.json"
    async with sidecar(tmp_path, server, dump(path, first_n=1)) as proxy:
        await proxy.ask(chat(seed=1), x_evalside_run="r", x_api_key="sk-very-secret")
        await proxy.ask(chat(seed=2))
        server.enqueue(Reply(status=400, json={"error": "sk-very-secret"}))
        await proxy.ask(chat(seed=3), x_api_key="sk-very-secret")
    found = json.loads(path.read_text())
    assert found["metrics"] == {"200": 2, "400": 1}
    assert [(pair["request"]["body"]["seed"], pair["response"]["status"]) for pair in found["pairs"]] == [
        (1, 200),
        (3, 400),
    ]
    assert found["pairs"][0]["run"] == "r"
    assert found["pairs"][0]["response"]["body"]["choices"]
    assert "sk-very-secret" not in path.read_text()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_the_file_is_whole_while_the_sidecar_runs(tmp_path, server):
    path = tmp_path / "pairs.json"
    async with sidecar(tmp_path, server, dump(path)) as proxy:
        assert json.loads(path.read_text()) == {"pairs": [], "metrics": {}}
        await proxy.ask(chat(stream=True))
        async with sidecar(tmp_path, server, dump(path)) as second:
            await second.ask(chat())
    assert len(json.loads(path.read_text())["pairs"]) == 1
    assert "data: " in json.loads(path.read_text())["pairs"][0]["response"]["body"]
    assert len(json.loads((tmp_path / "pairs-2.json").read_text())["pairs"]) == 1


async def test_a_file_of_an_earlier_start_is_kept_under_another_name(tmp_path, server):
    path = tmp_path / "pairs.json"
    path.write_text("mine")
    async with sidecar(tmp_path, server, dump(path)):
        pass
    others = list(tmp_path.glob("pairs.*.json"))
    assert [other.read_text() for other in others] == ["mine"]
    assert json.loads(path.read_text())["pairs"] == []


async def test_a_place_that_cannot_be_written_is_named(tmp_path, server):
    (tmp_path / "file").write_text("")
    with pytest.raises(Exception, match=r"http_pairs_dump: .* cannot be written"):
        async with sidecar(tmp_path, server, dump(tmp_path / "file" / "pairs.json")):
            pass
