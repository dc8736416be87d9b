"""The sidecar's own routes under `/-/`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from importlib.resources import files
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from sqlite_utils import Database
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles

from proxy.core.document import MAX_INT64
from proxy.core.errors import Conflict, InvalidRun, NotFound, RequestError
from proxy.core.nearest import did_you_mean
from proxy.edge.body import ClientLeft, read_body
from proxy.edge.controls import check_run
from proxy.house import House, describe
from proxy.store import changes, findings, reading, statistics, why
from proxy.store import runs as store_runs
from proxy.store.base import DEFAULT_RUN, LOSSES
from proxy.wire.routes import PIPELINE


class Page(BaseModel):
    """Which exchanges to list, and how many."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=1000, description="how many at most")
    cursor: int | None = Field(None, ge=0, le=MAX_INT64, description="the `next` of the page before")
    status: int | None = Field(None, ge=100, le=599, description="of the answer")
    cache: str | None = Field(None, description="hit, miss, bypass or off")
    q: str | None = Field(None, description="text in the path, the error code or the key")


class PassRequest(BaseModel):
    """What the new pass of a run begins with."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: str | None = Field(None, alias="from", description="run whose samples a new run replays before its own")
    mode: Literal["on", "off", "read", "write", "refresh", "replay", "verify"] | None = Field(
        None, description="cache mode of the run from now on; null leaves it as it is"
    )


_PASS_SCHEMA = {
    "requestBody": {"required": False, "content": {"application/json": {"schema": PassRequest.model_json_schema()}}}
}
_RUNS_TOLD = 20
"""Runs whose findings are in the list: they take a second for a million answers. Those of others are in their own."""
_OF_LOSSES = {
    "log_rows_shed": "rows of the exchange log were dropped, because the disk could not keep up",
    "log_rows_lost": "rows of the exchange log could not be written",
    "cache_rows_lost": "answers could not be written; they will be asked for again",
    "cache_reads_failed": "answers are there and could not be read; they were asked for again",
    "notes_lost": "counts, or ends of leases, could not be written",
    "notes_dropped": "rows about uses and verifications were deleted, because there were too many",
    "answers_unconfirmed": "answers were not kept, because another model server may have given them",
    "answers_crowded_out": "answers were not kept, because too many waited to be confirmed",
    "checks_dropped": "hits were not asked for again in mode verify, because too many waited",
}

router = APIRouter(prefix="/-")


def house(request: Request) -> House:
    """Return the running sidecar behind a request."""
    found: House = request.app.state.house
    return found


async def written(request: Request) -> None:
    """Let what this worker has logged so far be read."""
    for store in house(request).stores:
        await store.flush()


Written = [Depends(written)]


@contextmanager
def databases(here: House) -> Iterator[list[Database]]:
    """Open every store of the house for reading: the one with the log first."""
    with ExitStack() as stack:
        paths = [here.store.path, *(store.path for store in here.stores if store is not here.store)]
        yield [stack.enter_context(reading.reading(path)) for path in paths]


@router.get("/live", summary="The sidecar runs")
def live() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready", summary="The sidecar runs and the model server answers", responses={503: {}})
async def ready(request: Request) -> JSONResponse:
    here = house(request)
    wrong = await here.model.ready()
    if wrong:
        return JSONResponse({"status": "upstream not ready", "upstream": here.plan.address.url, "said": wrong}, 503)
    return JSONResponse({"status": "ok", "upstream": here.plan.address.url})


@router.get("/config", summary="Effective configuration, pipeline order and fingerprint")
def config(request: Request) -> dict[str, Any]:
    return describe(house(request).plan)


@router.get("/exchanges", dependencies=Written, summary="Logged exchanges, newest first")
def exchanges(request: Request, page: Annotated[Page, Query()]) -> dict[str, Any]:
    return _exchanges(request, None, page)


@router.get(
    "/exchanges/{exchange_id}", dependencies=Written, summary="One exchange with headers and bodies, and why it missed"
)
def exchange(request: Request, exchange_id: str) -> dict[str, Any]:
    here = house(request)
    with databases(here) as dbs:
        row, found = reading.exchange_row(dbs[0], exchange_id), reading.exchange(dbs[0], exchange_id)
        if row is None or found is None:
            raise NotFound(f"there is no exchange '{exchange_id}'; GET /-/exchanges lists them")
        told = why.of_exchange(row, dbs, key_headers(here)) if why.is_miss(row) else None
        return {**found, "why": told}


@router.get("/runs", dependencies=Written, summary="Runs, latest first, and findings")
def runs(request: Request) -> dict[str, Any]:
    here = house(request)
    with databases(here) as dbs:
        made = {run: at for db in dbs for run, at in store_runs.made(db).items()}
        logged = {item["run"]: item for item in reading.runs(dbs[0])}
        never = {"exchanges": 0, "first_at": None, "last_at": None}
        items = [
            {"run": run, **logged.get(run, never), **store_runs.state(dbs, run)}
            for run in dict.fromkeys([*logged, *made])
        ]
        items.sort(key=lambda item: item["last_at"] or made[item["run"]], reverse=True)
        newest = items[:_RUNS_TOLD]
        told = [{"run": item["run"], **one} for item in newest for one in _of_run(dbs, item["run"], item["pass"])]
    return {"items": items, "findings": _lost(here) + told}


@router.get("/runs/{run}", dependencies=Written, summary="Counts of one pass of a run, and findings")
def run_summary(
    request: Request,
    run: str,
    number: Annotated[int | None, Query(alias="pass", ge=0, le=MAX_INT64, description="null is the latest")] = None,
    since: Annotated[int | None, Query(ge=0, le=MAX_INT64, description="statistics from this pass on")] = None,
) -> dict[str, Any]:
    here = house(request)
    check_run(run)
    with databases(here) as dbs:
        if not any(store_runs.exists(db, run) for db in dbs):
            raise NotFound(f"there is no run '{run}'; GET /-/runs lists them")
        state = store_runs.state(dbs, run)
        shown = state["pass"] if number is None else number
        if shown > state["pass"]:
            raise NotFound(f"run '{run}' has no pass {shown} yet; its latest is {state['pass']}")
        counts = reading.run_summary(dbs[0], run, shown) or {"exchanges": 0, **{name: {} for name in reading.COUNTED}}
        told = _of_run(dbs, run, shown)
        changed = changes.of_run(dbs[0], run, shown)
        measured = statistics.of_run(dbs[0], run, shown, since)
    return {
        "run": run,
        **state,
        **counts,
        "pass": shown,
        "passes": state["pass"] + 1,
        "statistics": measured,
        "changes": changed,
        "findings": _lost(here) + told,
    }


@router.post(
    "/runs/{run}",
    dependencies=Written,
    summary="Begin a new pass of a run, which is made where it is missing",
    openapi_extra=_PASS_SCHEMA,
)
async def begin_pass(request: Request, run: str) -> dict[str, Any]:
    here = house(request)
    if check_run(run) == DEFAULT_RUN:
        raise InvalidRun(f"'{run}' is where requests that name no run go, and has no passes; name another run")
    wanted = await _wanted(request)
    for store in here.stores:
        for name in filter(None, (run, wanted.source)):
            await store.decided(name)  # what this pass is to replay
    number = await run_in_threadpool(_upcoming, here, run, wanted.source)
    for store in here.stores:
        asked = store_runs.NewPass(wanted.source, wanted.mode, number)
        if await store.change(partial(store_runs.begin, run=run, wanted=asked)) is None:
            raise _taken(run)
    state = await run_in_threadpool(_state, here, run)
    return {"run": run, **{name: state[name] for name in ("pass", "from", "mode")}}


@router.delete("/runs/{run}", dependencies=Written, summary="Delete a run with its samples, log and counters")
async def delete_run(request: Request, run: str) -> dict[str, Any]:
    here = house(request)
    await run_in_threadpool(_check_deletable, here, check_run(run))
    gone = [await store.change(partial(store_runs.remove, run=run)) for store in here.stores]
    if None in gone:
        raise _inherited(run, "another run")
    return {"run": run, "answers": sum(count or 0 for count in gone)}


@router.get("/runs/{run}/exchanges", dependencies=Written, summary="Logged exchanges of one run, newest first")
def run_exchanges(request: Request, run: str, page: Annotated[Page, Query()]) -> dict[str, Any]:
    return _exchanges(request, check_run(run), page)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/-/openapi.json",
        title="Evalside",
        swagger_js_url="/-/static/swagger-ui-bundle.js",
        swagger_css_url="/-/static/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


def _exchanges(request: Request, run: str | None, page: Page) -> dict[str, Any]:
    wanted = reading.Filter(run, page.status, page.cache, page.q)
    with reading.reading(house(request).store.path) as db:
        return reading.exchanges(db, wanted, limit=page.limit, cursor=page.cursor)


def key_headers(here: House) -> Sequence[str]:
    """Return the request headers that caching takes into the key."""
    return next((entry.options["key_headers"] for entry in here.plan.entries if entry.name == "caching"), ())


async def _wanted(request: Request) -> PassRequest:
    """Return what the body says, whatever its content type: curl sends `-d` as a form."""
    try:
        raw = await read_body(request.receive, request.scope["headers"], house(request).plan.settings.max_body_bytes)
        return PassRequest.model_validate_json(raw) if raw.strip() else PassRequest()
    except ClientLeft:
        raise RequestError("the client left before its request was whole") from None
    except ValidationError as error:
        wrong = error.errors()[0]
    name = ".".join(map(str, wrong["loc"]))
    if wrong["type"] == "extra_forbidden":
        raise RequestError(f"unknown key '{name}'{did_you_mean(name, ['from', 'mode'])}")
    said = f"'{name}' is {wrong['input']!r}: {wrong['msg']}" if name else f"the body is not right: {wrong['msg']}"
    raise RequestError(said)


def _upcoming(here: House, run: str, source: str | None) -> int:
    """Return the number of the run's next pass, where it may begin with this source."""
    with databases(here) as dbs:
        used = any(store_runs.exists(db, run) for db in dbs)
        if source is not None:
            if check_run(source) in {run, DEFAULT_RUN}:
                which = "itself" if source == run else f"'{source}', which keeps no samples to replay"
                raise RequestError(f"run '{run}' cannot be made from {which}; name another run in 'from'")
            if used:
                raise _taken(run)
            if not any(store_runs.exists(db, source) for db in dbs):
                raise NotFound(f"there is no run '{source}' to make '{run}' from; GET /-/runs lists them")
        return int(store_runs.state(dbs, run)["pass"]) + 1 if used else 0


def _taken(run: str) -> Conflict:
    return Conflict(
        f"run '{run}' is there already, so it cannot be made from another; leave 'from' out for its next pass, or take"
        " another name"
    )


def _state(here: House, run: str) -> dict[str, Any]:
    with databases(here) as dbs:
        return store_runs.state(dbs, run)


def _check_deletable(here: House, run: str) -> None:
    with databases(here) as dbs:
        if not any(store_runs.exists(db, run) for db in dbs):
            raise NotFound(f"there is no run '{run}'; GET /-/runs lists them")
        heirs = sorted({heir for db in dbs for heir in store_runs.heirs(db, run)})
    if heirs:
        raise _inherited(run, " and ".join(f"'{heir}'" for heir in heirs))


def _inherited(run: str, heirs: str) -> Conflict:
    return Conflict(f"run '{run}' is what {heirs} was made from, and its samples are replayed there; delete that first")


def _of_run(dbs: list[Database], run: str, number: int) -> list[dict[str, Any]]:
    return [finding for db in dbs for finding in findings.of_run(db, run, number)]


def _lost(here: House) -> list[dict[str, Any]]:
    """Return what may make the store or the log incomplete, counted over all workers as far as they could say it."""
    found: list[dict[str, Any]] = []
    for store in here.stores:
        with reading.reading(store.path) as db:
            counts = Counter(reading.losses(db)) + Counter(store.unsaved_losses())
        about = {"store": str(store.path), "last_error": store.losses.last_error}
        found += [
            {"finding": name, "count": counts[name], **about, "text": f"{counts[name]} {_OF_LOSSES[name]}."}
            for name in LOSSES
            if counts[name]
        ]
    found += [
        {
            "finding": "interceptor_failed",
            "name": name,
            "count": count,
            "text": f"The interceptor '{name}' failed {count} times; the console says how.",
        }
        for name, count in here.failures.items()
    ]
    return found


def mount_admin(app: FastAPI) -> None:
    """Add the routes, the API's docs and their vendored assets to `app`."""
    app.include_router(router)
    app.mount("/-/static", StaticFiles(directory=str(files("proxy") / "static")), name="static")
    own_schema = app.openapi

    def openapi() -> dict[str, Any]:
        schema = own_schema()
        for path, route in PIPELINE.items():
            schema["paths"].setdefault(path.decode(), {"post": _relayed(f"{route}, through the pipeline", body=True)})
        schema["paths"].setdefault("/v1/models", {"get": _relayed("the model server's own list", body=False)})
        return schema

    app.openapi = openapi  # type: ignore[method-assign]


def _relayed(summary: str, *, body: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": summary,
        "tags": ["model server"],
        "responses": {"200": {"description": "what the model server answers"}},
    }
    if body:
        operation["requestBody"] = {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}}
    return operation
