"""The sidecar's own routes under `/-/`."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.staticfiles import StaticFiles

from proxy.core.document import MAX_INT64
from proxy.core.errors import NotFound
from proxy.edge.controls import check_run
from proxy.house import House, describe
from proxy.store import reading
from proxy.store.base import LOSSES
from proxy.upstream.health import answers
from proxy.wire.routes import PIPELINE


class Page(BaseModel):
    """Which exchanges to list, and how many."""

    model_config = ConfigDict(extra="forbid")

    limit: int = Field(50, ge=1, le=1000, description="how many at most")
    cursor: int | None = Field(None, ge=0, le=MAX_INT64, description="the `next` of the page before")
    status: int | None = Field(None, ge=100, le=599, description="of the answer")
    cache: str | None = Field(None, description="hit, miss, bypass or off")
    q: str | None = Field(None, description="text in the path, the error code or the key")


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
def exchanges(request: Request, page: Annotated[Page, Query()]) -> dict[str, Any]:
    return _exchanges(request, None, page)


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
        return {"items": reading.runs(db), "findings": _findings(here)}


@router.get("/runs/{run}", dependencies=Written, summary="Counts of one run, and its findings")
def run_summary(request: Request, run: str) -> dict[str, Any]:
    here = house(request)
    with reading.reading(here.store.path) as db:
        found = reading.run_summary(db, check_run(run))
        if found is None:
            raise NotFound(f"there is no run '{run}'; GET /-/runs lists them")
        return {**found, "findings": _findings(here)}


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


def _findings(here: House) -> list[dict[str, Any]]:
    """Return what may make the store or the log incomplete, counted over all workers as far as they could say it."""
    found = []
    for store in here.stores:
        with reading.reading(store.path) as db:
            counts = Counter(reading.losses(db)) + Counter(store.unsaved_losses())
        found += [
            {"finding": name, "count": counts[name], "store": str(store.path), "last_error": store.losses.last_error}
            for name in LOSSES
            if counts[name]
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
