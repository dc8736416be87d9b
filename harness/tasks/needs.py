"""What a task asks of an endpoint, and what a probe says of it."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from harness.api import EndpointType
from harness.errors import ConfigurationError

_HAS, _LACKS = {"supported", "unknown"}, {"ignored", "rejected", "wrong"}


class Need(NamedTuple):
    """What it is, and the capability of a profile that shows it: None where no endpoint can show it."""

    what: str
    capability: str | None


NEEDS: dict[str, Need] = {
    "echo_logprobs": Need("the log probabilities of the prompt's own tokens", "completions.echo_logprobs"),
    "logprobs": Need("the log probabilities of generated tokens", "{kind}.logprobs"),
    "tools": Need("function calls", "chat.tools"),
    "images": Need("images in the prompt", "chat.image"),
    "audio": Need("sound in the prompt", "chat.audio"),
    "json_schema": Need("answers that fit a schema", "chat.json_schema"),
    "sampling": Need("different answers to one prompt", "{kind}.temperature"),
    "judge": Need("another model that grades", None),
    "code_execution": Need("a place to run what the model wrote", None),
}


class Lack(NamedTuple):
    """A need that the endpoint does not meet, and why, in words."""

    need: str
    capability: str
    verdict: str
    reason: str


def lacks(name: str, needs: Sequence[str], kinds: Sequence[EndpointType], profile: Mapping[str, Any]) -> list[Lack]:
    """What the endpoint of a capability profile lacks for a task that takes one of `kinds`; empty where it can be run.

    With several kinds, the lacks of the one that comes nearest. What the profile does not know is no lack.
    """
    found = profile.get("capabilities")
    if not isinstance(found, Mapping):
        raise ConfigurationError(
            "this is no capability profile: it has no 'capabilities'; write one with evalside probe"
        )
    return min((_of_kind(name, needs, kind, found) for kind in kinds), key=len)


def _of_kind(name: str, needs: Sequence[str], kind: EndpointType, found: Mapping[str, Any]) -> list[Lack]:
    wanted = {f"{kind.value}": Need(f"an endpoint of type {kind.value}", f"{kind.value}.works")}
    wanted |= {need: NEEDS[need] for need in needs}
    missing = []
    for need, (what, template) in wanted.items():
        if template is None:
            continue
        capability = template.format(kind=kind.value)
        entry = found.get(capability, {"verdict": "unknown"})
        verdict, evidence = _read(capability, entry)
        if verdict in _LACKS:
            reason = f"{name} needs {what}, but {capability} is {verdict}"
            missing.append(Lack(need, capability, verdict, f"{reason}: {evidence}" if evidence else reason))
    return missing


def _read(capability: str, entry: Any) -> tuple[str, str]:
    verdict = entry.get("verdict") if isinstance(entry, Mapping) else None
    if verdict not in _HAS | _LACKS:
        raise ConfigurationError(
            f"capabilities.{capability} of the profile has the verdict {verdict!r}, which is none of "
            f"{', '.join(sorted(_HAS | _LACKS))}; write the profile anew with evalside probe"
        )
    return verdict, str(entry.get("evidence", ""))
