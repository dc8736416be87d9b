"""payload_modifier: parameters and headers removed, renamed and added, in this order."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from pydantic import Field, ValidationInfo, field_validator

from proxy.core.document import encode
from proxy.core.errors import NotEditable
from proxy.core.http import Exchange, Headers, Payload, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple
from proxy.interceptors.header_options import check_header_name, check_header_value
from proxy.wire.paths import check_path, places, put


class PayloadModifierConfig(TransformConfig):
    """What to change. A name is a top-level parameter; a dotted path reaches further (`messages[].name`)."""

    params_to_remove: tuple[str, ...] = Field((), description="parameters, and fields of messages, to leave out")
    params_to_rename: dict[str, str] = Field({}, description="old name -> new name")
    params_to_add: dict[str, Any] = Field({}, description="name -> value; replaces what is there")
    add_before_rename: bool = Field(
        False, description="what is added may be renamed, as in the reference's first generation"
    )
    headers_to_remove: tuple[str, ...] = Field((), description="header names, in any case")
    headers_to_rename: dict[str, str] = Field({}, description="old header name -> new name")
    headers_to_add: dict[str, str] = Field({}, description="header name -> value; replaces what is there")

    @field_validator("*", mode="before")
    @classmethod
    def _nothing(cls, value: Any, info: ValidationInfo) -> Any:
        """Take the reference's null for what is empty here."""
        if value is None and info.field_name is not None and "_to_" in info.field_name:
            return () if info.field_name.endswith("_remove") else {}
        return value

    @field_validator("params_to_remove", "params_to_rename", "params_to_add")
    @classmethod
    def _are_paths(cls, value: Any) -> Any:
        for path in value:
            check_path(path)
        return value

    @field_validator("params_to_add")
    @classmethod
    def _are_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        for path, content in value.items():
            try:
                encode(content)
            except ValueError as error:
                raise ValueError(f"'{path}' cannot be sent as JSON: {error}") from None
        return value

    @field_validator("params_to_rename")
    @classmethod
    def _renames_leaves(cls, value: dict[str, str]) -> dict[str, str]:
        for old, new in value.items():
            if not new or "." in new or new == old.rpartition(".")[2]:
                raise ValueError(f"'{new}' is not a new name: only the last name of a path is renamed")
        return value

    @field_validator("headers_to_remove", "headers_to_rename", "headers_to_add")
    @classmethod
    def _are_headers(cls, value: Any, info: ValidationInfo) -> Any:
        new_names = value.values() if info.field_name == "headers_to_rename" else ()
        for name in [*value, *new_names]:
            check_header_name(name)
        return value

    @field_validator("headers_to_add")
    @classmethod
    def _can_be_sent(cls, value: dict[str, str]) -> dict[str, str]:
        for name, content in value.items():
            check_header_value(name, content)
        return value


class PayloadModifier:
    """Changes what the model server gets. What it does not name is never touched."""

    def __init__(self, config: PayloadModifierConfig, services: Services) -> None:
        self._config = config
        self._removed_headers = frozenset(name.lower().encode() for name in config.headers_to_remove)
        self._renamed_headers = {old.lower().encode(): new.encode() for old, new in config.headers_to_rename.items()}
        self._added_headers = [(name.encode(), value.encode()) for name, value in config.headers_to_add.items()]

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        request = exchange.request
        self._remove(request.body)
        steps = (self._add, self._rename) if self._config.add_before_rename else (self._rename, self._add)
        for change in steps:
            change(request.body)
        if self._removed_headers or self._renamed_headers or self._added_headers:
            request.headers = self._changed(request.headers)
        return await call_next(exchange)

    def _remove(self, body: Payload) -> None:
        for path in self._config.params_to_remove:
            found = places(_document(body), path)
            if "." not in path:
                found += places(_document(body), f"messages[].{path}")
            if found:
                body.edit()
            for holder, name in found:
                holder.pop(name, None)

    def _rename(self, body: Payload) -> None:
        for path, new in self._config.params_to_rename.items():
            found = places(_document(body), path)
            if found:
                body.edit()
            for holder, old in found:
                if new in holder and encode(holder[new]) != encode(holder[old]):
                    raise NotEditable(f"cannot rename '{path}' to '{new}': the request has both, with different values")
                renamed = {new if name == old else name: value for name, value in holder.items() if name != new}
                holder.clear()
                holder.update(renamed)

    def _add(self, body: Payload) -> None:
        for path, value in self._config.params_to_add.items():
            try:
                put(body.edit(), path, copy.deepcopy(value))  # the next edit must not reach the configuration
            except ValueError as error:
                raise NotEditable(f"params_to_add: {error}") from None

    def _changed(self, headers: Headers) -> Headers:
        added = {name.lower() for name, _ in self._added_headers}
        kept = [
            (self._renamed_headers.get(name.lower(), name), value)
            for name, value in headers
            if name.lower() not in self._removed_headers
        ]
        return [item for item in kept if item[0].lower() not in added] + self._added_headers


def _document(body: Payload) -> dict[str, Any]:
    document: Mapping[str, Any] = body.json
    assert isinstance(document, dict)
    return document


PLUGIN = Plugin(PayloadModifierConfig, Layer.TRANSFORM, simple(PayloadModifier), rank=20)
