"""Options that every command on a store has."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from proxy.settings import CONFIG_VARIABLE

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", help=f"YAML file; without it, the one that {CONFIG_VARIABLE} names.")
]
StoreUrl = Annotated[
    str | None, typer.Option("--store", help="sqlite:///PATH; without it, where the configuration keeps answers.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
