import sys
from pathlib import Path

import pytest

from proxy import custom
from proxy.plugins import fingerprint, plan
from proxy.settings import ConfigError, InterceptorSpec
from proxy.testing import ModelServer
from tests.contract.sidecar import chat, sidecar
from tests.killable import Killable

MARK = """
from proxy.core.pipeline import Layer
from proxy.interceptors.base import Plugin, TransformConfig, simple

class MarkConfig(TransformConfig):
    word: str = "marked"

class Mark:
    def __init__(self, config, services):
        self.word = config.word
    async def __call__(self, exchange, call_next):
        exchange.request.body.edit()["user"] = self.word
        return await call_next(exchange)

PLUGIN = Plugin(MarkConfig, Layer.TRANSFORM, simple(Mark))
NUMBER = 7
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch) -> Path:
    """A working directory with modules in it that no other test has imported."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path])
    for name in [name for name in sys.modules if name.startswith("own_")]:
        monkeypatch.delitem(sys.modules, name)
    (tmp_path / "own_mark.py").write_text(MARK)
    (tmp_path / "own_package").mkdir()
    (tmp_path / "own_package" / "mark.py").write_text(MARK)
    (tmp_path / "own_needs.py").write_text("import no_such_thing")
    (tmp_path / "own_raises.py").write_text("1 / 0")
    (tmp_path / "own_empty.py").write_text("")
    return tmp_path


def spec(name: str, **config: str) -> list[InterceptorSpec]:
    return [InterceptorSpec(name=name, config=config)]


@pytest.mark.parametrize("name", ["own_mark:PLUGIN", "own_package.mark:PLUGIN"])
async def test_one_of_the_working_directory_works_by_its_place(folder, name) -> None:
    with ModelServer() as server:
        async with sidecar(folder, server, [{"name": name, "config": {"word": "x"}}, "caching"]) as proxy:
            answered = await proxy.ask(chat())
            assert proxy.last["user"] == "x"
            assert answered.header("x-evalside-changes") == "user"
            [row] = (await proxy.get("/-/runs/default")).json["changes"]
            assert row["interceptor"] == name


async def test_what_an_observer_changes_all_the_same_is_told(folder) -> None:
    (folder / "own_watch.py").write_text(MARK.replace("Layer.TRANSFORM", "Layer.OBSERVE"))
    with ModelServer() as server:
        async with sidecar(folder, server, ["own_watch:PLUGIN"]) as proxy:
            answered = await proxy.ask(chat())
            assert proxy.last["user"] == "marked"
            assert answered.header("x-evalside-changes") == "user"
            [row] = (await proxy.get("/-/runs/default")).json["changes"]
            assert (row["field"], row["interceptor"]) == ("user", "body check")


def test_one_of_pythonpath_comes_before_the_working_directory(folder, tmp_path_factory, monkeypatch) -> None:
    other = tmp_path_factory.mktemp("other")
    (other / "own_mark.py").write_text(MARK.replace("marked", "from the path"))
    monkeypatch.syspath_prepend(str(other))
    [entry] = [entry for entry in plan(spec("own_mark:PLUGIN")) if entry.name == "own_mark:PLUGIN"]
    assert entry.options["word"] == "from the path"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("own_nothing:PLUGIN", "there is no module 'own_nothing'; .* PYTHONPATH and in the working directory, /"),
        ("own_package.nothing:PLUGIN", r"there is no module 'own_package\.nothing'"),
        ("own_needs:PLUGIN", "module 'own_needs' cannot be imported: ModuleNotFoundError.*no_such_thing.*repair it"),
        ("own_raises:PLUGIN", "module 'own_raises' cannot be imported: ZeroDivisionError"),
        ("own_mark:PLUGN", r"module 'own_mark' \(.*own_mark.py\) has no 'PLUGN'; did you mean 'PLUGIN'"),
        ("own_mark:Mark.PLUGIN", "has no 'PLUGIN'; a Plugin belongs there"),
        ("own_mark:NUMBER.x", "has no 'x'; a Plugin belongs there"),
        ("own_empty:PLUGIN", "has no 'PLUGIN'; a Plugin belongs there"),
        ("own_mark:Mark", "'own_mark:Mark' is the class Mark, not a Plugin; .* name one of the module's: PLUGIN"),
        ("own_mark:NUMBER", "is of type int, not a Plugin"),
        ("own_mark:", "'own_mark:' is no module:attribute, for example my_package.seed:PLUGIN"),
        ("./own_mark.py:PLUGIN", "is no module:attribute"),
        ("own_mark:PLUGIN:x", "is no module:attribute"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_out(folder, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        plan(spec(name))


def test_its_options_are_checked_like_any_others(folder) -> None:
    with pytest.raises(ConfigError, match="'own_mark:PLUGIN': unknown option 'wrod'; did you mean 'word'"):
        plan(spec("own_mark:PLUGIN", wrod="x"))


def test_the_fingerprint_differs_with_place_options_and_code(folder) -> None:
    first = fingerprint(plan(spec("own_mark:PLUGIN")))
    assert first == fingerprint(plan(spec("own_mark:PLUGIN")))
    assert first != fingerprint(plan(spec("own_package.mark:PLUGIN")))
    assert first != fingerprint(plan(spec("own_mark:PLUGIN", word="x")))
    (folder / "own_mark.py").write_text(MARK.replace('["user"]', '["seed"]'))
    assert first != fingerprint(plan(spec("own_mark:PLUGIN")))


def test_a_module_without_a_file_has_no_hash(monkeypatch, tmp_path) -> None:
    assert custom.digest("builtins") == ""
    assert custom.digest("no.such.module") == ""
    monkeypatch.setitem(sys.modules, "own_gone", type(sys)("own_gone"))
    sys.modules["own_gone"].__file__ = str(tmp_path / "gone.py")
    assert custom.digest("own_gone") == ""


def test_every_worker_of_a_real_process_finds_it(folder) -> None:
    with (
        ModelServer() as server,
        Killable(
            folder, server.url, workers=2, cwd=folder, interceptors=["own_package.mark:PLUGIN", "request_logging"]
        ) as process,
    ):
        for number in range(6):
            process.ask("/v1/completions", {"prompt": str(number)})
        assert [request.json["user"] for request in server.generation_requests] == ["marked"] * 6
