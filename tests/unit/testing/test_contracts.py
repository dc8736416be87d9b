"""The contract suite passes a correct interceptor, and fails each way of being wrong that it is there for."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tests.killable import ROOT

GOOD = """
from pydantic import Field
from proxy.core.errors import ProxyError
from proxy.core.http import Payload, Response
from proxy.core.pipeline import Layer
from proxy.interceptors.base import Config, Plugin, TransformConfig, simple
from proxy.testing.contracts import InterceptorContract

class GoodConfig(TransformConfig):
    word: str = Field("hello", description="said to the model server")

class Good:
    def __init__(self, config, services):
        self.config = config
        self.seen = 0
    async def __call__(self, exchange, call_next, /):
        exchange.request.body.edit()["user"] = self.config.word
        response = await call_next(exchange)
        response.stream().map(Upper(), name="good")
        return response

class Upper:
    def feed(self, chunk):
        return chunk.replace(b"h", b"H")
    def end(self):
        return b""

class TestGood(InterceptorContract):
    plugin = Plugin(GoodConfig, Layer.TRANSFORM, simple(Good))
    {contract}

class Observer(Good):
    async def __call__(self, exchange, call_next, /):
        return await call_next(exchange)

class TestObserver(InterceptorContract):
    plugin = Plugin(GoodConfig, Layer.OBSERVE, simple(Observer))
    observer = True
""".replace("    {contract}\n", "")

BROKEN = {
    "Buffers": (
        "response = await call_next(exchange); await response.read(); return response",
        {"test_a_stream_is_passed_on_before_it_is_whole"},
    ),
    "ByChunk": (
        "response = await call_next(exchange); response.stream().map(Greedy(), name='x'); return response",
        {"test_a_stream_comes_out_the_same_however_it_is_chunked"},
    ),
    "Remembers": (
        "self.seen += 1; exchange.request.body.edit()['seed'] = self.seen; return await call_next(exchange)",
        {"test_no_request_changes_what_becomes_of_the_next"},
    ),
    "Swallows": (
        "try: return await call_next(exchange)\n        except ProxyError: return Response(200, [], Payload(b'{}'))",
        {"test_our_errors_pass"},
    ),
    "Twice": ("await call_next(exchange); return await call_next(exchange)", {"test_the_model_server_is_asked_once"}),
    "Hides": (
        "response = await call_next(exchange); response.status = 200; return response",
        {"test_an_error_of_the_model_server_passes"},
    ),
    "Leaks": (
        "response = await call_next(exchange); return Response(response.status, response.headers, Payload(b''))",
        {"test_what_it_holds_is_closed_and_the_end_is_seen_once"},
    ),
}

OTHERS = """
class Greedy(Upper):
    def feed(self, chunk):
        return chunk + b" "

class LooseConfig(Config):
    model_config = {{"frozen": False, "extra": "ignore"}}
    word: str = "x"

class TestLoose(InterceptorContract):
    plugin = Plugin(LooseConfig, Layer.TRANSFORM, simple(Observer))

class Edits(Good):
    pass

class TestEdits(InterceptorContract):
    plugin = Plugin(GoodConfig, Layer.OBSERVE, simple(Edits))
    observer = True
""".replace("{{", "{").replace("}}", "}")

LOOSE = {"test_options_are_frozen", "test_unknown_options_are_refused", "test_every_option_is_described"}


@pytest.fixture(scope="module")
def failed(tmp_path_factory) -> dict[str, set[str]]:
    """The contract's tests that failed, by the class that was tested."""
    folder: Path = tmp_path_factory.mktemp("own")
    text = GOOD + OTHERS
    for name, (body, _) in BROKEN.items():
        text += (
            f"\nclass {name}(Good):\n    async def __call__(self, exchange, call_next, /):\n        {body}\n"
            f"\nclass Test{name}(InterceptorContract):\n"
            f"    plugin = Plugin(GoodConfig, Layer.TRANSFORM, simple({name}))\n"
        )
    (folder / "test_own.py").write_text(text)
    command = [sys.executable, "-m", "pytest", "-o", "asyncio_mode=auto", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(
        [*command, "--junitxml=result.xml", "test_own.py"],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1, done.stdout
    found: dict[str, set[str]] = {}
    for case in ET.parse(folder / "result.xml").iter("testcase"):
        tests = found.setdefault(case.get("classname", "").rpartition(".Test")[2], set())
        if case.find("failure") is not None or case.find("error") is not None:
            tests.add(case.get("name", "").partition("[")[0])
    return found


@pytest.mark.parametrize("name", ["Good", "Observer"])
def test_a_correct_interceptor_passes(failed, name: str) -> None:
    assert failed[name] == set()


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_one_fails_where_it_is_broken(failed, name: str) -> None:
    _, expected = BROKEN[name]
    assert expected <= failed[name]


def test_options_that_are_not_strict_fail(failed) -> None:
    assert failed["Loose"] == LOOSE


def test_an_observer_that_changes_something_fails(failed) -> None:
    assert failed["Edits"] == {"test_an_observer_changes_nothing"}
