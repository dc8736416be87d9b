import pytest

from proxy.wire.state import remote_media, server_state


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": {"id": "c"}}, "conversation"),
        ({"background": True}, "background"),
        ({"container": "c"}, "container"),
        ({"mcp_servers": [{"url": "x"}]}, "mcp_servers"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"search_parameters": {"mode": "on"}}, "search_parameters"),
        ({"plugins": [{"id": "web"}]}, "plugins"),
        ({"data_sources": [{}]}, "data_sources"),
        ({"enable_search": True}, "enable_search"),
        ({"prompt": {"id": "pmpt_1"}}, "prompt"),
        ({"tools": [{"type": "function"}, {"type": "web_search"}]}, "tools"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, "tools"),
        ({"tools": [{"type": ["not", "a", "type"]}]}, "tools"),
        ({"tools": [{"name": "mine"}, {"google_search": {}}]}, "tools"),
        ({"tools": [{"type": None, "url_context": {}}]}, "tools"),
        ({"tools": [{}]}, "tools"),
        ({"input": [{"role": "user"}, {"type": "item_reference", "id": "i"}]}, "input"),
    ],
)
def test_what_ties_a_request_to_the_server_is_named(document, field):
    assert server_state(document) == field


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"previous_response_id": None, "conversation": "", "background": False, "mcp_servers": []},
        {"tools": [{"type": "function"}, {"type": "custom"}, {"name": "anthropic"}, "odd"]},
        {"tools": [{"function": {"name": "f"}}, {"input_schema": {}}, {"type": None, "name": "f"}]},
        {"enable_search": False},
        {"tools": {"type": "web_search"}, "input": "text", "prompt": "text"},
        {"input": ["a", [1, 2], {"role": "user"}], "prompt": [1, 2]},
    ],
)
def test_other_requests_stand_for_themselves(document):
    assert server_state(document) is None


def parts(*content):
    return {"messages": [{"role": "system", "content": "https://text"}, {"role": "user", "content": list(content)}]}


@pytest.mark.parametrize(
    ("document", "field"),
    [
        (parts({"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://h/i"}}), "messages"),
        (parts({"type": "image_url", "image_url": "http://h/i"}), "messages"),
        (parts({"type": "image_url", "image_url": {"url": " HTTPS://h/i"}}), "messages"),
        (parts({"type": "video", "video": ["data:", "s3://b/f"]}), "messages"),
        (parts({"type": "audio_url", "audio_url": {"url": "file:///a"}}), "messages"),
        (parts({"type": "tool_result", "content": [{"source": {"type": "url", "url": "https://h/i"}}]}), "messages"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "gs://b/i"}]}]}, "input"),
        ({"input": [{"type": "function_call_output", "output": [{"image_url": "https://h"}]}]}, "input"),
        ({"documents": [{"image": "https://h/i"}]}, "documents"),
        ({"text_1": {"content": [{"image_url": {"url": "ftp://h/i"}}]}}, "text_1"),
    ],
)
def test_media_behind_an_address_is_found_wherever_it_is(document, field):
    assert remote_media(document) == field


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"messages": "https://h", "input": "https://h", "documents": ["https://h"]},
        parts({"type": "text", "text": "https://h"}, "https://h"),
        parts({"type": "text", "text": {"value": "https://h"}}),
        parts({"type": "image_url", "image_url": {"url": "data:image/png;base64,aHR0cHM6Ly8="}}),
        parts({"type": "tool_use", "input": {"url": "https://h"}}),
        parts({"type": "tool_result", "content": "https://h"}),
        {"messages": [{"tool_calls": [{"function": {"name": "f", "arguments": "https://h"}}]}]},
        {"input": [{"type": "function_call_output", "output": "https://h"}]},
    ],
)
def test_addresses_in_a_text_are_text(document):
    assert remote_media(document) is None


def test_depth_is_no_reason_to_fail():
    content: object = {"url": "https://h"}
    for _ in range(5000):
        content = [content]
    assert remote_media({"messages": content}) == "messages"
