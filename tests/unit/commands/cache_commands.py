"""The commands of `evalside cache`, called in a folder of their own."""

import json
import re
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from proxy.commands.cache import cache_app

ROOT = Path(__file__).parents[3]
URL = "http://localhost:8080/v1"


def run(*arguments: str, **options: Any) -> Result:
    return CliRunner().invoke(cache_app, list(arguments), **options)


def good(*arguments: str, **options: Any) -> str:
    done = run(*arguments, **options)
    assert done.exit_code == 0, done.output
    return done.stdout


def data(*arguments: str, **options: Any) -> Any:
    return json.loads(good(*arguments, "--json", **options))


def bad(*arguments: str, **options: Any) -> str:
    done = run(*arguments, **options)
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    return re.sub(r"\s+", " ", re.sub(r"[│╭╮╰╯─]", "", done.stderr))
