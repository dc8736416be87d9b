"""The sidecar's own routes under `/-/`."""

from __future__ import annotations

from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from starlette.staticfiles import StaticFiles

from proxy.core.errors import NotFound
from proxy.edge.controls import check_run
from proxy.house import House, describe
from proxy.store import reading
from proxy.store.base import Losses
from proxy.upstream.health import answers
from proxy.wire.routes import PIPELINE

Limit = Annotated[int, Query(ge=1, le=1000, description="how many at most")]
Cursor = Annotated[int | None, Query(description="the `next` of the page before")]

router = APIRouter(prefix="/-")


def house(request: Request) -> House:
    """Return the running sidecar behind a request."""
    found: House = request.app.state.house
    return found


async def written(request: Request) -> None:
    """Let what this worker has logged so far be read."""
    await house(request).store.flush()


Written = [Depends(written)]


@router.get("/live", summary="The sidecar runs")
def live() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/ready", summary="The sidecar runs and the model server answers", responses={503: {}})
async def ready(request: Request) -> JSONResponse:
    here = house(request)
    wrong = await answers(here.transport, here.plan.address)
    if wrong:
        return JSONResponse({"status": "upstream not ready", "upstream": here.plan.address.url, "said": wrong}, 503)
    return JSONResponse({"status": "ok", "upstream": here.plan.address.url})


@router.get("/config", summary="Effective configuration, pipeline order and fingerprint")
def config(request: Request) -> dict[str, Any]:
    return describe(house(request).plan)


@router.get("/exchanges", dependencies=Written, summary="Logged exchanges, newest first")
def exchanges(
    request: Request,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: int | None = None,
    cache: str | None = None,
    q: str | None = None,
) -> dict[str, Any]:
    return _exchanges(request, reading.Filter(status=status, cache=cache, q=q), limit, cursor)


@router.get("/exchanges/{exchange_id}", dependencies=Written, summary="One exchange with headers and bodies")
def exchange(request: Request, exchange_id: str) -> dict[str, Any]:
    with reading.reading(house(request).store.path) as db:
        found = reading.exchange(db, exchange_id)
    if found is None:
        raise NotFound(f"there is no exchange '{exchange_id}'; GET /-/exchanges lists them")
    return found


@router.get("/runs", dependencies=Written, summary="Runs, and what was lost")
def runs(request: Request) -> dict[str, Any]:
    here = house(request)
    with reading.reading(here.store.path) as db:
        return {"items": reading.runs(db), "findings": _findings(here, reading.losses(db))}


@router.get("/runs/{run}", dependencies=Written, summary="Counts of one run, and its findings")
def run_summary(request: Request, run: str) -> dict[str, Any]:
    here = house(request)
    with reading.reading(here.store.path) as db:
        found = reading.run_summary(db, check_run(run))
        if found is None:
            raise NotFound(f"there is no run '{run}'; GET /-/runs lists them")
        return {**found, "findings": _findings(here, reading.losses(db))}


@router.get("/runs/{run}/exchanges", dependencies=Written, summary="Logged exchanges of one run, newest first")
def run_exchanges(  # noqa: PLR0913 - one parameter for each query field
    request: Request,
    run: str,
    limit: Limit = 50,
    cursor: Cursor = None,
    status: int | None = None,
    cache: str | None = None,
    q: str | None = None,
) -> dict[str, Any]:
    return _exchanges(request, reading.Filter(check_run(run), status, cache, q), limit, cursor)


@router.get("/docs", include_in_schema=False)
def docs() -> HTMLResponse:
    return get_swagger_ui_html(
        openapi_url="/-/openapi.json",
        title="Evalside",
        swagger_js_url="/-/static/swagger-ui-bundle.js",
        swagger_css_url="/-/static/swagger-ui.css",
        swagger_favicon_url="data:,",
    )


def _exchanges(request: Request, wanted: reading.Filter, limit: int, cursor: int | None) -> dict[str, Any]:
    with reading.reading(house(request).store.path) as db:
        return reading.exchanges(db, wanted, limit=limit, cursor=cursor)


def _findings(here: House, stored: dict[str, int]) -> list[dict[str, Any]]:
    """Return what may make the store or the log incomplete."""
    losses: Losses = here.store.losses
    now = {name: getattr(losses, name) for name in ("log_rows_shed", "log_rows_lost", "cache_rows_lost")}
    found = [
        {"finding": name, "count": max(now[name], stored.get(name, 0)), "last_error": losses.last_error}
        for name in now
        if now[name] or stored.get(name)
    ]
    found += [{"finding": "interceptor_failed", "name": name, "count": count} for name, count in here.failures.items()]
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
