"""`evalside cache why`: explains a miss from the store's files; no sidecar has to run."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from proxy.commands.failing import fail, failing
from proxy.commands.ids import whole_id
from proxy.commands.options import AsJson, ConfigFile, StoreUrl
from proxy.commands.scope import Scope, read_scope
from proxy.store import reading
from proxy.store.why import NotExplained, asked_of_body, explain, is_miss, of_exchange


def why(
    what: Annotated[
        str,
        typer.Argument(
            metavar="REQUEST|EXCHANGE",
            help="A file with a request body, - for standard"
            " input, or the ID of a logged exchange (its beginning is enough).",
        ),
    ],
    *,
    path: Annotated[str, typer.Option(help="Path that the request of a file is posted to.")] = "/v1/chat/completions",
    config: ConfigFile = None,
    store: StoreUrl = None,
    as_json: AsJson = False,
) -> None:
    """Say why the cache did not answer: the nearest stored entry, and the fields that differ."""
    with failing():
        try:
            told = _explained(what, read_scope(config, store), path)
        except NotExplained as error:
            fail(str(error))
    if as_json:
        typer.echo(json.dumps(told, ensure_ascii=False, indent=2))
    else:
        _show(told)


def _explained(what: str, scope: Scope, path: str) -> dict[str, Any]:
    body = _body(what)
    key_headers = [name.decode() for name in scope.rules.key_headers]
    with ExitStack() as stack:
        # The log first; answers may be in it too, from before `cache_dir` was set.
        files = dict.fromkeys([scope.log, scope.database])
        dbs = [stack.enter_context(reading.reading(file)) for file in files]
        if body is not None:
            asked = asked_of_body(body, path=path, key_headers=key_headers, identity=scope.namespace)
            return explain(asked, dbs)
        unknown = f"'{what}' is neither a file nor the ID of a logged exchange; GET /-/exchanges lists those"
        row = reading.exchange_row(dbs[0], whole_id(dbs[0], what, unknown=unknown))
        assert row is not None, "its ID has just been found"
        if not is_miss(row):
            raise NotExplained(f"exchange '{row['id']}' is no miss: the cache says '{row['cache'] or 'nothing'}'")
        return of_exchange(row, dbs, key_headers)


def _body(what: str) -> bytes | None:
    """Return the request's body, None where `what` is no file."""
    if what == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(what).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise NotExplained(f"'{what}' cannot be read ({error.strerror})") from None


def _show(told: dict[str, Any]) -> None:
    out = Console(soft_wrap=True, highlight=False, markup=False)
    nearest = told["nearest"]
    if nearest is None or not nearest["fields"]:
        out.print(told["text"])
        return
    if told["reason"] is not None:
        out.print(f"reason    {told['reason']}")
    later = ", stored after this request" if nearest["later"] else ""
    out.print(f"nearest   {nearest['key']} (of {told['compared']} compared){later}")
    out.print(f"          run {nearest['run']}, sample {nearest['sample']}, model server {nearest['identity']}")
    table = Table("field", "asked", "stored")
    for field in nearest["fields"]:
        for item in [field, *field.get("facts", [])]:
            # Text, so that brackets in a path or a value are no markup.
            table.add_row(*(Text(item[name] or "absent") for name in ("field", "asked", "stored")))
    out.print(table)
    if told["unconfirmed"]:
        out.print(f"unconfirmed  {told['unconfirmed']} answers to the same request")
