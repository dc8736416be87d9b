import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import sidecars
from harness.proxy_process import Sidecar
from proxy.testing import ModelServer, Reply

CHAT = "/v1/chat/completions"
STANDIN = (sys.executable, str(Path(__file__).with_name("standin_sidecar.py")))


@pytest.fixture
def server() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


@pytest.fixture
def said() -> Callable[..., Reply]:
    """Makes an answer that serves as chat and as completion."""

    def make(text: str | None, **fields: Any) -> Reply:
        choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}, "text": text}
        usage = {"prompt_tokens": 7, "completion_tokens": 3}
        return Reply(json={"choices": [choice], "usage": usage}, **fields)

    return make


@pytest.fixture
def refused() -> Callable[..., Reply]:
    """Makes an OpenAI-shaped error."""

    def make(status: int, message: str = "no", code: str | None = None, **fields: Any) -> Reply:
        return Reply(status=status, json={"error": {"message": message, "code": code}}, **fields)

    return make


@pytest.fixture
def standin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Runs start the stand-in instead of the sidecar, in an empty working directory."""
    monkeypatch.setattr(sidecars, "Sidecar", lambda *args, **kwargs: Sidecar(*args, **kwargs, command=STANDIN))
    monkeypatch.chdir(tmp_path)
