"""Secrets that a plan has written out: they stay out of the list of runs, and have to be given again to go on."""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from harness.errors import ConfigurationError
from harness.plan import Plan
from harness.redact import REDACTED, Redactor

Supplied = Mapping[str, str]
"""Values by the place that they belong to, or by the end of it: `X-Api-Key` is every place that ends so."""


def kept(plan: Plan) -> str:
    """The plan as JSON for the list of runs: secrets are replaced, and what names them (`api_key_name`) is not."""
    return json.dumps(Redactor.of(plan).document(plan.model_dump(mode="json", exclude_none=True)))


def restored(run: str, text: str, supplied: Supplied) -> Plan:
    """The plan of a run that was `kept`, with the secrets that it needs.

    Raises ConfigurationError that says which are missing and how they are given, or that a value belongs nowhere.
    """
    document = json.loads(text)
    places = list(_withheld(document))
    for name in supplied:
        if not any(_is(place, name) for place in places):
            known = f"it lacks {', '.join(map(_shown, places))}" if places else "it lacks none"
            raise ConfigurationError(f"run {run!r} lacks no secret {name!r}; {known}")
    missing = [place for place in places if not any(_is(place, name) for name in supplied)]
    if missing:
        raise ConfigurationError(
            f"run {run!r} was configured with secrets written out, which are not kept: "
            f"{', '.join(map(_shown, missing))}. Give each again, in a variable: --secret {missing[0][-1]}=VARIABLE; "
            "a run that names its key by api_key_name goes on without"
        )
    for place in places:
        _set(document, place, next(value for name, value in supplied.items() if _is(place, name)))
    return Plan.model_validate(document)


def without(text: str) -> Plan:
    """The plan of a run that was `kept`, for a replay: nobody is asked, and no secret is needed."""
    return Plan.model_validate_json(text)


def refuse_withheld(document: Mapping[str, Any]) -> None:
    """Raises ConfigurationError for a configuration that a run left behind, whose secrets were not filled in."""
    for place in _withheld(document):
        raise ConfigurationError(
            f"{_shown(place)} holds {REDACTED!r}, which stands for a secret that was not kept; fill it in"
        )


def from_variables(texts: Sequence[str]) -> dict[str, str]:
    """What `PLACE=VARIABLE` texts say. Raises ConfigurationError for another form, or a variable that is not set."""
    found = {}
    for text in texts:
        place, equals, variable = text.rpartition("=")
        if not equals or not place or not variable:
            raise ConfigurationError(f"{text!r} is not of the form PLACE=VARIABLE, such as X-Api-Key=MY_KEY")
        if not os.environ.get(variable):
            raise ConfigurationError(
                f"the environment variable {variable!r}, which should hold {place}, is not set; set it with "
                f"`export {variable}=…`"
            )
        found[place] = os.environ[variable]
    return found


_Place = tuple[str | int, ...]


def _withheld(value: Any, place: _Place = ()) -> Iterator[_Place]:
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    elif isinstance(value, str) and REDACTED in value:
        yield place
    for name, item in items:
        yield from _withheld(item, (*place, name))


def _shown(place: _Place) -> str:
    return ".".join(str(part) for part in place)


def _is(place: _Place, name: str) -> bool:
    return f".{_shown(place)}".endswith(f".{name}")


def _set(document: Any, place: _Place, value: str) -> None:
    *path, last = place
    for part in path:
        document = document[part]
    document[last] = value
