"""The base of all configuration models: frozen, and an unknown key is an error that suggests the nearest valid one."""

import difflib
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


def nearest(name: str, valid: Iterable[str]) -> str:
    """The end of an error message: the nearest valid name if one is near, then all of them."""
    names = sorted(str(each) for each in valid)
    if not names:
        return "; there is none to choose from"
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ";"
    return f"{hint} Valid: {', '.join(names)}"


class StrictModel(BaseModel):
    """Frozen; unknown keys raise. Raw input stays out of pydantic's own messages: it may hold a key."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            for key in data:
                if key not in cls.model_fields:
                    raise ValueError(f"unknown field {key!r} of {cls.__name__}{nearest(str(key), cls.model_fields)}")
        return data
