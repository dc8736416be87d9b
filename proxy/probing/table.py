"""Every check there is, in the order in which they are made and shown."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.probing.check import Check
from proxy.probing.checks import (
    choices,
    limits,
    logprobs,
    manners,
    media,
    others,
    prompts,
    reasoning,
    sampling,
    server,
    streams,
    structured,
    tokens,
    works,
)
from proxy.wire import routes

GENERATION = (routes.CHAT, routes.COMPLETIONS)
"""The routes of which one has to work."""

_GROUPS = (
    works,
    sampling,
    limits,
    choices,
    logprobs,
    prompts,
    streams,
    structured,
    media,
    reasoning,
    manners,
)


def _of(route: str) -> tuple[Check, ...]:
    found = [check for group in _GROUPS for check in group.checks(route)]
    return (*found, *tokens.bos_checks(route))


def _all() -> dict[str, Check]:
    found = (*server.checks(), *_of(routes.CHAT), *_of(routes.COMPLETIONS), *others.checks(), *tokens.checks())
    return {check.name: check for check in found}


CHECKS: Mapping[str, Check] = _all()
"""By name."""

ROUTES = tuple(dict.fromkeys(check.route for check in CHECKS.values()))
"""What `--route` takes."""
