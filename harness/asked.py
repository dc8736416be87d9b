"""Whom a run asks, and how: a model behind the sidecar, over a connection of its own."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import httpx

from harness.api import ConfigParams, EndpointType
from harness.asker import Asker
from harness.errors import ConfigurationError
from harness.gate import Gate
from harness.redact import Redactor
from harness.tasks.base import Ask

DEFAULT_PARALLELISM = 4
DEFAULT_RETRIES = 3
_CONNECT_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Asked:
    """A server and how it is asked: `base_url` is an origin, or a run of a sidecar.

    `model_id` None asks the server for its only model; `settled` takes it as it is, None for none. What the server says
    of an error goes through `redactor`. `judge` gives, by the place of a sample in the task, the way to ask the model
    that grades it, if a task needs one. `gate` limits requests in flight together with other tasks. `url` is that of
    the model server itself, for messages.
    """

    base_url: str
    kind: EndpointType
    model_id: str | None = None
    params: ConfigParams = field(default_factory=ConfigParams)
    redactor: Redactor = field(default_factory=Redactor)
    judge: Callable[[int], Ask] | None = None
    gate: Gate | None = None
    settled: bool = False
    url: str = ""

    @property
    def parallelism(self) -> int:
        """Requests in flight."""
        return self.params.parallelism or DEFAULT_PARALLELISM

    def fields(self) -> dict[str, Any]:
        """What is in every request, if it is settled."""
        params = self.params
        chosen = {"max_tokens": params.max_new_tokens, "temperature": params.temperature, "top_p": params.top_p}
        given = {name: value for name, value in chosen.items() if value is not None}
        return {**given, **params.extra.get("body", {})}

    def model(self) -> dict[str, str]:
        """The field that names the model, if there is one."""
        return {} if self.model_id is None else {"model": self.model_id}


@asynccontextmanager
async def connected(asked: Asked) -> AsyncIterator[Asker]:
    """A connection while the block is open."""
    params = asked.params
    # trust_env: a proxy variable of the shell must not come between the harness and its sidecar.
    async with httpx.AsyncClient(
        base_url=asked.base_url,
        timeout=httpx.Timeout(params.request_timeout, connect=_CONNECT_TIMEOUT_S),
        limits=httpx.Limits(max_connections=None),
        trust_env=False,
    ) as http:
        retries = DEFAULT_RETRIES if params.max_retries is None else params.max_retries
        yield Asker(http, asked.kind, asked.redactor, max_retries=retries, url=asked.url)


async def settle(asked: Asked) -> Asked:
    """The same with the model that will be asked; nothing is generated, but a wrong URL or key is found.

    Raises EndpointError, or ConfigurationError if the server has several models and none was chosen.
    """
    if asked.settled:
        return asked
    async with connected(asked) as asker:
        # Asked even if the model is known: it finds an unreachable endpoint or a wrong key before the first sample.
        listed = await asker.models()
    if asked.model_id is None and len(listed) > 1:
        raise ConfigurationError(
            f"the endpoint has {len(listed)} models; choose one with model_id (--model-id): {', '.join(listed[:20])}"
        )
    model = asked.model_id or (listed[0] if listed else None)
    return replace(asked, model_id=model, settled=True)
