"""The pages on bridges say which fields are carried over as the code does it, and their examples are what happens."""

import json
import re
from typing import Any

import pytest
import yaml

from proxy.app import create_app
from proxy.settings import Settings
from proxy.testing import ASGIExchange, ModelServer, lifespan
from proxy.wire.bridges import choices, completions_request, prompt_request, responses_answer, responses_parts
from proxy.wire.bridges import responses_request as responses
from tests.docs.markdown import DOCS, codes, section, tables

PAGE = DOCS / "reference" / "interceptors.md"
BRIDGES: dict[str, tuple[Any, str]] = {
    "responses_to_chat": (responses, "/v1/responses"),
    "chat_to_completions": (completions_request, "/v1/chat/completions"),
    "completions_to_chat": (prompt_request, "/v1/completions"),
}


def rows(name: str) -> list[list[str]]:
    [_, found] = list(tables(section(PAGE, f"## {name}")))
    return [codes(row["fields"]) for row in found]


@pytest.mark.parametrize("name", BRIDGES)
def test_every_field_is_in_the_list_of_what_becomes_of_it(name):
    module, _ = BRIDGES[name]
    lists = [list(fields) for fields in (module.CONVERTED, module.LEFT_OUT, module.REFUSED, module.FOREIGN)]

    assert rows(name)[:5] == [*lists, []]
    assert name == module.NAME


def test_parts_and_what_no_answer_can_hold_are_those_of_the_code():
    _, parts, meant = rows("responses_to_chat")[5:]

    assert parts == list(responses_parts._PARTS)
    assert meant == list(responses_answer._MEANT)
    assert rows("completions_to_chat")[5] == sorted(choices._MEANT)


@pytest.mark.parametrize("kind", rows("responses_to_chat")[5])
def test_items_are_carried_over(kind):
    item = {"type": kind, "role": "user", "content": "", "output": "", "summary": []}
    body = item if kind != "reasoning" else {"type": kind, "summary": [{"type": "summary_text", "text": "hm"}]}

    assert responses.chat_request({"input": [body]}).body["messages"]


@pytest.mark.parametrize("name", BRIDGES)
async def test_before_becomes_after(name, tmp_path):
    text = section(PAGE, f"## {name}")
    [config] = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    before, after = (json.loads(found) for found in re.findall(r"```json\n(.*?)```", text, re.DOTALL))
    with ModelServer() as server:
        document = yaml.safe_load(config) | {"upstream": {"url": server.url}, "store": f"sqlite:///{tmp_path}/x.db"}
        app = create_app(Settings.model_validate(document))
        headers, body = [(b"host", b"localhost")], json.dumps(before).encode()
        async with lifespan(app), ASGIExchange(app, "POST", BRIDGES[name][1], headers, [body]) as exchange:
            assert (await exchange.start()).status == 200
        [sent] = server.generation_requests
    assert sent.json == after
