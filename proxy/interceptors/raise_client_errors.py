"""raise_client_errors: a run that the model server refuses is stopped, instead of failing to its end."""

from __future__ import annotations

from pydantic import Field, model_validator

from proxy.core.errors import RunAborted
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Config, Plugin, Services, simple
from proxy.store.base import ABORTED

_LOWEST, _HIGHEST = 400, 499


class RaiseClientErrorsConfig(Config):
    """Which statuses stop a run."""

    exclude_status_codes: frozenset[int] = Field(frozenset({408, 429}), description="statuses that do not stop it")
    status_codes: frozenset[int] | None = Field(None, description="just these statuses, whatever the range")
    status_code_range_start: int | None = Field(_LOWEST, description="the range's first status; null has no first")
    status_code_range_end: int | None = Field(_HIGHEST, description="the range's last status; null has no last")

    @model_validator(mode="after")
    def _is_possible(self) -> RaiseClientErrorsConfig:
        both = sorted((self.status_codes or frozenset()) & self.exclude_status_codes)
        if both:
            raise ValueError(f"{both[0]} is in 'status_codes' and in 'exclude_status_codes'; leave it out of one")
        if self.range.start >= self.range.stop:
            raise ValueError("'status_code_range_start' is above 'status_code_range_end'")
        return self

    @property
    def range(self) -> range:
        """The range of statuses, as Python counts."""
        first = 0 if self.status_code_range_start is None else self.status_code_range_start
        last = 999 if self.status_code_range_end is None else self.status_code_range_end
        return range(first, last + 1)

    def stops(self, status: int) -> bool:
        """Return whether a run ends with this status."""
        if self.status_codes is not None:
            return status in self.status_codes
        return status in self.range and status not in self.exclude_status_codes


class RaiseClientErrors:
    """The client gets the model server's own answer. What comes after it in the same pass of a named run is 424."""

    def __init__(self, config: RaiseClientErrorsConfig, services: Services) -> None:
        self._config = config
        self._runs = services.responses(None)
        self._memory = services.memory
        self._log = services.log

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        number = "0"
        if exchange.run is not None:
            number = str((await self._runs.run(exchange.run)).number)
            aborted = self._memory.recall(exchange.run, ABORTED, number)
            if aborted is not None:
                raise RunAborted(f"run '{exchange.run}' was aborted: {aborted}; begin a new pass")
        response = await call_next(exchange)
        if exchange.error is None and self._config.stops(response.status):
            reason = f"the model server answered {exchange.request.path.decode('latin-1')} with {response.status}"
            self._memory.remember(exchange.run, ABORTED, number, reason)
            await self._log.flush()  # before the client has it: its next request may be another worker's
        return response


PLUGIN = Plugin(RaiseClientErrorsConfig, Layer.OBSERVE, simple(RaiseClientErrors), rank=60)
