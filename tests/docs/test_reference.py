"""The reference lists what the code has, with its defaults, and nothing else."""

import json
import re
import sqlite3
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel, TypeAdapter

from harness.adapters.adapter_config import AdapterConfig, InterceptorConfig
from harness.api import (
    ApiEndpoint,
    ConfigParams,
    EndpointModelConfig,
    EvaluationConfig,
    EvaluationTarget,
    JudgeConfig,
)
from harness.launcher.compose import GROUPS
from harness.launcher.config import ExecutionSection, LaunchConfig
from harness.plan import Deployment
from harness.records import SampleRecord
from harness.results import Report
from proxy import admin, app, legacy
from proxy.cache.keeping import _NOT_KEPT, LARGEST
from proxy.core.errors import ProxyError
from proxy.core.hop import HOP_BY_HOP
from proxy.core.pipeline import Layer
from proxy.edge.controls import CACHE, CACHE_MODES, RUN, SAMPLE
from proxy.edge.gate import TOKEN_HEADER
from proxy.interceptors.caching import CachingConfig
from proxy.plugins import BUILT_IN, DEFAULT, find_plugin
from proxy.settings import CONFIG_VARIABLE, PREFIX, InterceptorSpec, Settings, _variables
from proxy.store.base import LOSSES
from proxy.store.schema import migrate
from proxy.upstream.identity import FRESH
from proxy.upstream.probe import PATIENCE
from proxy.wire import choices, messages, routes, state
from proxy.wire.identity import PATHS
from proxy.wire.key import DENIED, KEY_HEADERS, NUMERIC
from tests.docs.markdown import DOCS, ROOT, code, codes, section, table, tables, type_name

REFERENCE = DOCS / "reference"


def column(rows: list[dict[str, str]], name: str) -> list[str]:
    return [code(row[name]) for row in rows]


def shown_default(model: type[BaseModel], name: str) -> str:
    """A field's default as the reference writes it."""
    field = model.model_fields[name]
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    value = sorted(value) if isinstance(value, frozenset) else value
    if isinstance(value, BaseModel):
        return f"a `{type(value).__name__}`"
    return f"`{json.dumps(TypeAdapter(Any).dump_python(value, mode='json'))}`"


def leaves(model: type[BaseModel], prefix: str = "") -> dict[str, tuple[str, str]]:
    """Every key below a model, with its type and default in the reference's words."""
    found: dict[str, tuple[str, str]] = {}
    properties = model.model_json_schema()["properties"]
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= leaves(field.annotation, f"{prefix}{name}.")
        else:
            found[prefix + name] = type_name(properties[name]), shown_default(model, name)
    return found


def variable(key: str) -> str:
    return PREFIX + key.upper().replace(".", "__")


class TestSettings:
    rows = staticmethod(cache(lambda: table(REFERENCE / "settings.md", "## Keys")))

    def test_every_key_has_its_type_and_default(self):
        written = {code(row["key"]): (row["type"], row["default"]) for row in self.rows()}

        assert written == leaves(Settings)

    def test_every_key_names_its_variable(self):
        assert [code(row["variable"]) for row in self.rows()] == [variable(key) for key in leaves(Settings)]

    def test_the_other_variables_are_listed_too(self):
        others = set(_variables(Settings, PREFIX)) - {variable(key) for key in leaves(Settings)}

        assert set(column(table(REFERENCE / "settings.md", "## Variables"), "variable")) == others | {CONFIG_VARIABLE}

    def test_interceptor_entries_have_these_keys(self):
        rows = table(REFERENCE / "settings.md", "## Interceptor entries")

        assert {code(row["key"]): (row["type"], row["default"]) for row in rows} == leaves(InterceptorSpec)

    def test_the_default_pipeline_is_the_one_described(self):
        text = section(REFERENCE / "settings.md", "## Interceptor entries")

        assert f"the pipeline is {', '.join(f'`{name}`' for name in DEFAULT)}." in text.replace("\n", " ")


class TestInterceptors:
    page = REFERENCE / "interceptors.md"

    def test_each_has_its_layer_and_rank(self):
        [_, rows] = list(tables(self.page.read_text().partition("\n## ")[0]))
        plugins = {name: find_plugin(name) for name in BUILT_IN}

        assert {code(row["name"]): (code(row["layer"]), int(code(row["rank"]))) for row in rows} == {
            name: (plugin.layer.name.lower(), plugin.rank) for name, plugin in plugins.items()
        }
        assert {code(row["name"]) for row in rows if row["in the default pipeline"].startswith("yes")} == {
            *DEFAULT,
            "damping",
            "endpoint",
        }

    def test_every_layer_is_listed_in_order(self):
        rows = next(tables(self.page.read_text()))

        assert column(rows, "layer") == [layer.name.lower() for layer in Layer]

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_every_option_has_its_type_and_default(self, name):
        found = next(tables(section(self.page, f"## {name}")), [])

        assert {code(row["option"]): (row["type"], row["default"]) for row in found} == leaves(find_plugin(name).config)

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_each_shows_a_request_before_and_after(self, name):
        text = section(self.page, f"## {name}")

        assert "Before" in text
        assert "After" in text

    def test_no_other_is_described(self):
        assert set(re.findall(r"^## (.+)$", self.page.read_text(), re.MULTILINE)) == {*BUILT_IN, "Others"}

    @pytest.mark.parametrize("name", BUILT_IN)
    def test_options_that_mean_nothing_here_are_named(self, name):
        config = find_plugin(name).config

        assert {*config.unneeded, *config.elsewhere} <= set(codes(section(self.page, f"## {name}")))


class TestFlatFlags:
    page = REFERENCE / "flat-flags.md"

    def test_every_flag_is_listed(self):
        flags, beside = tables(self.page.read_text())

        assert sorted(name for row in flags for name in codes(row["flag"])) == sorted(legacy.FLAT)
        assert sorted(name for row in beside for name in codes(row["key"])) == sorted(legacy.BESIDE)

    def test_every_interceptor_that_they_become_exists(self):
        flags, _ = tables(self.page.read_text())

        named = [codes(row["becomes"])[0] for row in flags[:1] + flags[2:-1]]
        assert all(name in BUILT_IN for name in named)


def errors(kind: type[ProxyError] = ProxyError) -> dict[str, tuple[str, str, str]]:
    found = {kind.code: (str(kind.status), kind.kind, "yes" if kind.retry_helps else "no")}
    for below in kind.__subclasses__():
        if below.__module__.startswith("proxy."):
            found |= errors(below)
    return found


def test_every_error_has_its_code_status_and_type():
    rows = next(tables((REFERENCE / "errors.md").read_text()))

    assert {code(row["code"]): (code(row["status"]), code(row["type"]), row["retry helps"]) for row in rows} == errors()


def test_the_guide_says_what_to_do_about_every_error():
    headings = re.findall(r"^### (.+)$", (DOCS / "howto" / "when-something-is-wrong.md").read_text(), re.MULTILINE)

    assert {name for heading in headings for name in codes(heading)} == set(errors())


class TestRoutes:
    page = REFERENCE / "routes.md"

    def test_every_pipeline_route_is_listed_with_its_short_form(self):
        short = {long: brief for brief, long in routes._SHORT.items()}
        expected = {
            path.decode(): (route, f"`{short[path].decode()}`" if path in short else "none")
            for path, route in routes.PIPELINE.items()
        }

        rows = table(self.page, "## Pipeline")
        assert {code(row["path"]): (code(row["route"]), row["also as"]) for row in rows} == expected

    def test_every_route_of_the_sidecar_is_listed(self):
        made = app.create_app()
        served = {(method, route.path) for route in admin.router.routes for method in route.methods}  # type: ignore[attr-defined]
        served |= {("GET", made.openapi_url), ("GET", "/-/static")}

        rows = table(self.page, "## The sidecar's own")
        assert {(code(row["method"]), code(row["path"])) for row in rows} == served

    def test_the_parameters_of_lists_are_those_of_the_schema(self):
        operation = app.create_app().openapi()["paths"]["/-/exchanges"]["get"]
        expected = {
            item["name"]: f"`{item['schema']['default']}`" if "default" in item["schema"] else "none"
            for item in operation["parameters"]
        }

        [_, rows] = list(tables(section(self.page, "## The sidecar's own")))
        assert {code(row["parameter"]): row["default"] for row in rows} == expected


class TestHeaders:
    page = REFERENCE / "headers.md"

    def test_every_request_header_is_listed(self):
        rows = table(self.page, "## Request")

        assert set(column(rows, "header")) == {name.decode() for name in (RUN, CACHE, SAMPLE, TOKEN_HEADER)}
        [modes] = [row["values"] for row in rows if code(row["header"]) == CACHE.decode()]
        assert codes(modes) == list(CACHE_MODES)

    def test_every_response_header_is_listed(self):
        edge = (ROOT / "proxy" / "edge" / "asgi.py").read_text() + (ROOT / "proxy" / "core" / "errors.py").read_text()
        written = set(re.findall(r'\(b"(x-[a-z-]+)"', edge))

        assert set(column(table(self.page, "## Response"), "header")) == written


class TestCache:
    page = REFERENCE / "cache.md"

    @pytest.mark.parametrize(
        ("heading", "name", "expected"),
        [
            ("### Fields that are not in the key", "field", DENIED),
            ("### Numbers that count by value", "field", NUMERIC),
            ("### Headers in the key", "header", {name.decode() for name in KEY_HEADERS}),
            ("## Complete answers", "header", {name.decode() for name in _NOT_KEPT - HOP_BY_HOP}),
        ],
    )
    def test_lists_are_those_of_the_code(self, heading, name, expected):
        rows = list(tables(section(self.page, heading)))[-1]

        assert column(rows, name) == sorted(expected)

    def test_modes_are_those_of_the_code(self):
        rows = table(self.page, "## Modes")

        assert set(column(rows, "mode")) == set(CACHE_MODES)
        for row in rows:
            for said in codes(row["same as"]):
                option, _, value = said.partition(": ")
                assert CachingConfig.model_validate({option: value == "true"}).effective_mode == code(row["mode"])

    def test_every_route_has_its_end_rule(self):
        assert column(table(self.page, "## Complete answers"), "route") == list(
            dict.fromkeys([*["chat", "completions", "responses", "messages"], *routes.PIPELINE.values()])
        )

    def test_finish_reasons_are_those_of_the_code(self):
        text = section(self.page, "## Complete answers").replace("\n", " ")
        [ended] = re.findall(r"end a choice: (.+?)\.", text)
        [stopped] = re.findall(r"Stop reasons of messages: (.+?)\.", text)

        assert codes(ended) == sorted(choices.FINISHED)
        assert codes(stopped) == sorted(messages.FINISHED)

    def test_reasons_for_a_bypass_are_those_of_the_code(self):
        [held, _, tools, remote] = table(self.page, "## Bypass")[1:5]

        assert codes(held["what"]) == list(state._STATE)
        assert set(codes(tools["what"])) == {"type", *state._CLIENT_TOOLS, *state._CLIENT_FIELDS}
        assert codes(remote["what"]) == [*state._MEDIA_FIELDS, *state._REMOTE, "allow_remote_media"]

    def test_the_largest_answer_is_the_one_named(self):
        assert f"at most {LARGEST >> 20} MiB" in section(self.page, "## Complete answers")


def store_tables() -> list[str]:
    connection = sqlite3.connect(":memory:")
    migrate(connection)
    names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    connection.close()
    return [name for name in names if not name.startswith(("_", "sqlite_"))]


TABLES = store_tables()


class TestStore:
    page = REFERENCE / "store.md"

    def test_every_table_and_no_other_is_listed(self):
        assert set(re.findall(r"^### (.+)$", section(self.page, "## Schema"), re.MULTILINE)) == set(TABLES)

    @pytest.mark.parametrize("name", TABLES)
    def test_every_column_is_listed(self, name):
        connection = sqlite3.connect(":memory:")
        migrate(connection)
        columns = [row[1] for row in connection.execute(f"PRAGMA table_info({name})")]
        connection.close()

        assert column(table(self.page, f"### {name}"), "column") == columns


def test_every_kind_of_loss_is_named():
    [row] = [row for row in table(REFERENCE / "store.md", "### losses") if code(row["column"]) == "name"]

    assert codes(row["meaning"]) == list(LOSSES)


class TestIdentity:
    page = REFERENCE / "identity.md"

    def test_of_every_kind_of_server_it_is_said_what_is_invisible(self):
        told, invisible = (
            {row["server"] for row in table(self.page, f"## {heading}")}
            for heading in ("What each server tells", "What is invisible")
        )
        assert len(told) >= 9
        assert told <= invisible

    def test_every_route_that_is_asked_is_listed(self):
        listed = {route for row in table(self.page, "## What each server tells") for route in codes(row["routes"])}
        assert {path for path in listed if path.startswith("/")} == {
            path.decode()
            for path in PATHS
            if not path.startswith(b"/get_")  # "their older names"
        }

    def test_how_long_a_server_may_take_and_what_is_fresh(self):
        text = self.page.read_text()
        assert f"takes more than {PATIENCE:g} seconds" in text
        assert f"when the last probe is {FRESH:g} seconds old" in text


class TestHarness:
    page = REFERENCE / "harness.md"

    @pytest.mark.parametrize(
        "model",
        [
            EvaluationConfig, ConfigParams, EvaluationTarget, ApiEndpoint, AdapterConfig, InterceptorConfig,
            JudgeConfig, EndpointModelConfig,
        ],
    )  # fmt: skip
    def test_every_field_has_its_default(self, model):
        level = "###" if model is EndpointModelConfig else "##"
        rows = table(self.page, f"{level} {model.__name__}")

        assert {code(row["field"]): row["default"] for row in rows} == {
            name: shown_default(model, name) for name in model.model_fields
        }

    def test_every_section_of_a_configuration_is_listed(self):
        [sections, execution] = list(tables(section(self.page, "## Configuration files")))

        assert {code(row["section"]).split(".")[0] for row in sections} == set(LaunchConfig.model_fields)
        assert {code(row["key of `execution`"]): row["default"] for row in execution} == {
            name: shown_default(ExecutionSection, name) for name in ExecutionSection.model_fields
        }

    def test_every_deployment_and_its_keys_are_listed(self):
        [choices, keys] = list(tables((DOCS / "howto" / "start-a-model-server.md").read_text()))

        assert {code(row["choice"]) for row in choices} == {
            path.stem for path in (GROUPS / "deployment").glob("*.yaml")
        }
        known = Deployment.model_fields.keys() - {"values"}
        assert {code(row["key"]) for row in keys} == known | {"extra_args"}
        for row in choices:
            path = GROUPS / "deployment" / f"{code(row['choice'])}.yaml"
            own = yaml.safe_load(path.read_text()).keys() - known - {"type", "extra_args"}
            assert set(codes(row["keys beside those below"])) - {"make demo"} == own

    def test_every_key_of_the_results_is_listed(self):
        source = Path(Report.__module__.replace(".", "/") + ".py")
        keys = re.findall(r'^            "(\w+)": ', (ROOT / source).read_text(), re.MULTILINE)

        assert column(table(self.page, "### results.yml"), "key") == keys

    def test_every_field_of_a_sample_is_listed(self):
        assert column(table(self.page, "### samples.jsonl"), "field") == [field.name for field in fields(SampleRecord)]
