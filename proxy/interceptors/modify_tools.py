"""modify_tools: properties of tools' parameters, left out or added."""

from __future__ import annotations

import copy
from typing import Any

from pydantic import Field, field_validator

from proxy.core.document import encode
from proxy.core.http import Exchange, Response
from proxy.core.pipeline import Layer, Next
from proxy.interceptors.base import Plugin, Services, TransformConfig, simple

_SCHEMAS = ("parameters", "input_schema")
"""Where a tool has its JSON schema: chat and responses, and messages."""


class ModifyToolsConfig(TransformConfig):
    """What to change in the schema of every tool."""

    strip_properties: tuple[str, ...] = Field((), description="properties to leave out, also of `required`")
    add_properties: dict[str, Any] = Field({}, description="property -> its schema; one that is there stays as it is")

    @field_validator("add_properties")
    @classmethod
    def _are_json(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            encode(value)
        except ValueError as error:
            raise ValueError(f"it cannot be sent as JSON: {error}") from None
        return value


class ModifyTools:
    """Changes the properties at the top level of each tool's parameters, and nothing else."""

    def __init__(self, config: ModifyToolsConfig, services: Services) -> None:
        self._strip = config.strip_properties
        self._add = config.add_properties

    async def __call__(self, exchange: Exchange, call_next: Next, /) -> Response:
        body = exchange.request.body
        if isinstance(body.json.get("tools"), list):
            for tool in body.edit()["tools"]:
                self._change(tool)
        return await call_next(exchange)

    def _change(self, tool: Any) -> None:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict):
            return
        for name in _SCHEMAS:
            schema: Any = function.get(name)
            properties = schema.get("properties") if isinstance(schema, dict) else None
            if isinstance(properties, dict):
                self._change_schema(schema, properties)

    def _change_schema(self, schema: dict[str, Any], properties: dict[str, Any]) -> None:
        for name in self._strip:
            properties.pop(name, None)
        if isinstance(schema.get("required"), list):
            schema["required"] = [name for name in schema["required"] if name not in self._strip]
        for name, added in self._add.items():
            properties.setdefault(name, copy.deepcopy(added))  # the next edit must not reach the configuration


PLUGIN = Plugin(ModifyToolsConfig, Layer.TRANSFORM, simple(ModifyTools), rank=30)
