"""What drivers are asked in these tests."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness.api import ConfigParams, EndpointType
from harness.external.base import Ask

MakeAsk = Callable[..., Ask]


def make_ask(
    folder: Path, task: str, kind: EndpointType = EndpointType.CHAT, options: Any = None, **params: Any
) -> Ask:
    url = "http://127.0.0.1:4000/-/runs/r/v1"
    return Ask(task, url, "org/m", kind, folder, ConfigParams(**params), options or {})


def option(argv: tuple[str, ...], name: str) -> str:
    """The value that follows an option."""
    return argv[argv.index(name) + 1]


def write(path: Path, *documents: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(json.dumps(each) for each in documents) + "\n", encoding="utf-8")
    return path
