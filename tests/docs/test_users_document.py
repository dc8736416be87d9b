"""Every block of the user's own document runs: with this project's names, against a model server of the test kit.

The data are the published ones where they lie beside the repository, else made ones of the same form.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.api import ApiEndpoint
from harness.proxy_process import Sidecar
from proxy.testing import ModelServer, Reply
from tests.docs import users_document
from tests.docs.markdown import ROOT
from tests.docs.users_document import BLOCKS, DOCUMENT, KEY, ORIGINAL, Block, Place, blocks_of
from tests.hub import write_hub

HUB = ROOT.parent / "shared" / "data" / "hub"
LANGUAGES = [
    "bash", "yaml", "python", "python", "bash", "bash", "json", "json", "json", "json", "bash", "bash", "yaml", "yaml",
]  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return HUB if HUB.exists() else write_hub(tmp_path_factory.mktemp("hub"), problems=60, questions=10)


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("API_KEY", KEY)
    monkeypatch.setenv("HARNESS_DATA_DIR", str(data))


@pytest.fixture(scope="module")
def server() -> Iterator[ModelServer]:
    with ModelServer(answer="The answer is (A). #### 4") as running:
        running.on("/v1/triton_health", Reply(json={"status": "ok"}))
        yield running


@pytest.fixture(scope="module")
def place(server: ModelServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("sidecar")

    def check() -> None:
        """All requests went to the endpoint of the document, with its key."""
        assert {request.path for request in server.generation_requests} == {"/v1/completions"}
        sent = {request.header("authorization") for request in server.generation_requests}
        assert sent == {f"Bearer {KEY}"}
        assert {request.json["model"] for request in server.generation_requests} <= MODELS

    with Sidecar(ApiEndpoint(url=server.url), log_path=folder / "log", store=folder / "evalside.db") as running:
        yield Place(server.url, running.url, check)


MODELS = {"llama-3.1-8b", "your-model-name", "mock-model"}


def test_the_document_has_the_blocks_it_had() -> None:
    assert [block.language for block in BLOCKS] == LANGUAGES


@pytest.mark.skipif(not ORIGINAL.exists(), reason="needs the user's document beside the repository, in ../shared/seed")
def test_the_copy_here_is_the_document() -> None:
    assert ORIGINAL.read_text() == DOCUMENT


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_the_block_runs(number: int, server: ModelServer, place: Place) -> None:
    server.clear()
    place.run(BLOCKS[number])


@pytest.mark.parametrize(
    ("added", "language"),
    [
        ("```bash\nls\n```\n", "bash"),
        ("~~~bash\nls\n~~~\n", "bash"),
        ("````\nls\n````\n", ""),
        ("1. So:\n\n   ```sh\n   ls\n   ```\n", "sh"),
        ("```{code-block} bash\nls\n```\n", "{code-block} bash"),
    ],
)
def test_a_block_that_is_added_is_seen_and_nothing_passes_it_over(added: str, language: str, place: Place) -> None:
    *before, block = blocks_of(f"{DOCUMENT}\n{added}")
    assert before == BLOCKS
    assert block == Block(language, "ls\n")
    assert [each.language for each in (*before, block)] != LANGUAGES
    with pytest.raises(AssertionError, match="nothing runs"):
        place.run(block)


def test_a_block_that_is_never_closed_is_an_error() -> None:
    with pytest.raises(AssertionError, match="never closed"):
        users_document.blocks_of(f"{DOCUMENT}\n```bash\nls\n")
