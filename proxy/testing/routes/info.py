"""GET routes that tell about the server: health, models, version, metrics."""

import time
from typing import Any
from urllib.parse import unquote

from proxy.testing.errors import ApiError
from proxy.testing.model import Model
from proxy.testing.replies import Reply


def health() -> Reply:
    """200 with an empty body, as vLLM answers."""
    return Reply()


def version(model: Model) -> Reply:
    """`{"version"}`."""
    return Reply(json={"version": model.options.version})


def models(model: Model) -> Reply:
    """The list with the one model there is."""
    return Reply(json={"object": "list", "data": [_card(model)]})


def one_model(model: Model, name: str) -> Reply:
    """The model's card; raises ApiError 404 for any other name."""
    if unquote(name) != model.options.model:
        raise ApiError(404, f"The model `{unquote(name)}` does not exist.", param="model")
    return Reply(json=_card(model))


def metrics(model: Model, running: int) -> Reply:
    """A few lines of Prometheus text, among them the time the process started."""
    label = f'{{model_name="{model.options.model}"}}'
    lines = [
        "# HELP process_start_time_seconds Start time of the process since unix epoch in seconds.",
        "# TYPE process_start_time_seconds gauge",
        f"process_start_time_seconds {model.started_at!r}",
        "# HELP vllm:num_requests_running Number of requests in model execution batches.",
        "# TYPE vllm:num_requests_running gauge",
        f"vllm:num_requests_running{label} {float(running)}",
        "# HELP vllm:request_success_total Count of successfully processed requests.",
        "# TYPE vllm:request_success_total counter",
        f"vllm:request_success_total{label} {float(model.calls)}",
    ]
    kind = (b"content-type", b"text/plain; version=0.0.4; charset=utf-8")
    return Reply(headers=[kind], body="\n".join([*lines, ""]).encode())


def _card(model: Model) -> dict[str, Any]:
    """`created` and the permission's id are new in every answer, as they are in vLLM's."""
    now = int(time.time())
    permission = {
        "id": model.new_id("modelperm-"),
        "object": "model_permission",
        "created": now,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    return {
        "id": model.options.model,
        "object": "model",
        "created": now,
        "owned_by": "vllm",
        "root": model.options.root or model.options.model,
        "parent": None,
        "max_model_len": model.options.max_model_len,
        "permission": [permission],
    }
