"""What a dialect file says. Format and meaning: docs/reference/dialects.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from proxy.wire import routes
from proxy.wire.error_bodies import Shape
from proxy.wire.parameters import ASKED, Bounds, Rules

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
"""Of a top-level parameter."""
Number = int | float


class Strict(BaseModel):
    """Data from a file: nothing is converted, and nothing unknown is let through."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Range(Strict):
    """A range of numbers, both ends in it."""

    min: Number | None = None
    max: Number | None = None

    @model_validator(mode="after")
    def _is_one(self) -> Range:
        if self.min is None and self.max is None:
            raise ValueError("a range has 'min', 'max' or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError(f"'min' ({self.min}) is above 'max' ({self.max})")
        return self


class RouteDialect(Strict):
    """What a model server takes on one route. What is not said is not known, and passes as it is."""

    rename: dict[Name, Name] = Field({}, description="name -> what the server calls it")
    unsupported: list[Name] = Field([], description="what the server refuses, or ignores without a word")
    accepts: list[Name] | None = Field(None, description="all that it takes, where it refuses every other name")
    clamp: dict[Name, Range] = Field({}, description="name -> range of the numbers that it takes")
    omit: dict[Name, list[Any]] = Field({}, description="name -> values it refuses that mean the same as none")
    defaults: dict[Name, Any] = Field({}, description="name -> value where the request has none")
    fan_out: bool = Field(False, description="it has no `n`: each choice is asked for by itself")

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> RouteDialect:
        for old, new in self.rename.items():
            if new in self.rename:
                raise ValueError(f"'{old}' is renamed to '{new}', which is renamed itself")
            if new in self.unsupported or (self.accepts is not None and new not in self.accepts):
                raise ValueError(f"'{old}' is renamed to '{new}', which the server does not take")
        needed = sorted(ASKED.intersection(self.unsupported))
        if needed:
            raise ValueError(f"'{needed[0]}' cannot be unsupported: a request is nothing without it; rename it instead")
        both = sorted(set(self.accepts or ()).intersection(self.unsupported))
        if both:
            raise ValueError(f"'{both[0]}' is in 'accepts' and in 'unsupported'")
        if self.fan_out and "n" in (self.accepts or ()):
            raise ValueError("'n' is in 'accepts', and 'fan_out' says that the server has none")
        return self


class AnswerDialect(Strict):
    """How its answers differ from OpenAI's."""

    done: Literal["sent", "missing"] = Field("sent", description="whether a stream of choices ends with `[DONE]`")
    errors: Shape | None = Field(None, description="shape of its errors, where it is not OpenAI's")
    completions_logprobs: Literal["legacy", "chat"] = Field(
        "legacy", description="shape of the log probabilities of `completions`"
    )


class Dialect(Strict):
    """One kind of model server."""

    name: Annotated[str, StringConstraints(min_length=1)] = Field(description="what messages and the ledger call it")
    chat: RouteDialect = RouteDialect()
    completions: RouteDialect = RouteDialect()
    responses: RouteDialect = RouteDialect()
    messages: RouteDialect = RouteDialect()
    answers: AnswerDialect = AnswerDialect()

    def route(self, route: str) -> RouteDialect:
        """Return what is said of a route; of another than those four, nothing."""
        found: RouteDialect = getattr(self, route) if route in routes.GENERATION else RouteDialect()
        return found

    def rules(self, route: str) -> Rules:
        """Return what the server takes on a route."""
        said = self.route(route)
        return Rules(
            server=self.name,
            rename=said.rename,
            unsupported=frozenset(said.unsupported),
            accepts=frozenset(said.accepts) if said.accepts is not None else None,
            clamp={name: Bounds(limits.min, limits.max) for name, limits in said.clamp.items()},
            omit={name: tuple(values) for name, values in said.omit.items()},
            defaults=said.defaults,
            fan_out=said.fan_out,
        )


UNKNOWN = Dialect(name="unknown")
"""Of a server about which nothing is known: everything passes."""
