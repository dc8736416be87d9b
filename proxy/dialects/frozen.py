"""What a run goes by from its first request to its last, and again when it is replayed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

from pydantic import Field, ValidationError

from proxy.dialects.model import Strict

KIND = "normalize"
"""The kind of memory that profiles are kept as."""
KEY = "profile"
"""The key of a run's profile in its memory."""
_MOST = 500
"""Parameters of a route that are settled; what comes after that is sent as it is, and never left out."""


class Frozen(Strict):
    """The profile of a model server as a run found it, and what the run itself has settled since.

    A parameter that the run settled stays so: the server took it in this run, and it is sent for ever, or refused it
    before it took it, and it is left out for ever. So no request that was answered changes when it comes again.
    """

    format: Literal[1] = 1
    identity: str
    """Of the model server, empty where it could not be known."""
    dialect: str
    """The name in its file."""
    context_length: int | None = None
    verdicts: dict[str, str] = Field(default_factory=dict)
    """Of the capability profile, by capability; empty without one."""
    accepted: dict[str, list[str]] = Field(default_factory=dict)
    """Parameters that the server took in this run, by route."""
    dropped: dict[str, list[str]] = Field(default_factory=dict)
    """Parameters that are left out, by route: it refused them."""

    def settled(self, route: str) -> set[str]:
        """Return the parameters of which it is known what becomes of them."""
        return {*self.accepted.get(route, ()), *self.dropped.get(route, ())}

    def accept(self, route: str, names: Collection[str]) -> Frozen:
        """Return the profile with parameters that the server took, but for those it has refused before."""
        return self.model_copy(update={"accepted": self._more(self.accepted, route, names)})

    def drop(self, route: str, names: Collection[str]) -> Frozen:
        """Return the profile with parameters that the server refused, but for those it has taken before."""
        return self.model_copy(update={"dropped": self._more(self.dropped, route, names)})

    def _more(self, to: Mapping[str, list[str]], route: str, names: Collection[str]) -> dict[str, list[str]]:
        settled = self.settled(route)
        new = sorted(set(names) - settled)[: max(0, _MOST - len(settled))]
        return {**to, route: sorted({*to.get(route, ()), *new})} if new else dict(to)

    def text(self) -> str:
        """Return it as JSON."""
        return self.model_dump_json()


def read_frozen(text: str) -> Frozen | None:
    """Return the profile in a text, None where it is of another version, or none at all."""
    try:
        return Frozen.model_validate_json(text)
    except ValidationError:
        return None
