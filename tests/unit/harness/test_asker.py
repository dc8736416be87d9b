import httpx
import pytest

from harness.api import EndpointType
from harness.asker import Asker
from harness.errors import EndpointError
from harness.redact import Redactor
from proxy.testing import Fault, Reply

KEY = "sk-0123456789"
CHAT = "/v1/chat/completions"
BODY = {"messages": [{"role": "user", "content": "hi"}]}


class Waits(list[float]):
    async def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits():
    return Waits()


@pytest.fixture
async def client(server, waits):
    async with httpx.AsyncClient(base_url=server.url, timeout=5.0, trust_env=False) as http:
        yield Asker(http, EndpointType.CHAT, Redactor([KEY]), max_retries=3, sleep=waits)


async def test_an_answer_carries_what_the_record_needs(client, server, said):
    server.enqueue(said("Paris", headers={"x-evalside-cache": "hit", "x-evalside-id": "e1"}))
    answer = await client.ask(BODY)
    assert (answer.text, answer.error, answer.finish_reason) == ("Paris", None, "stop")
    assert (answer.prompt_tokens, answer.generated_tokens) == (7, 3)
    assert (answer.cache, answer.exchange_id, answer.attempts) == ("hit", "e1", 1)
    assert answer.latency_ms > 0
    assert server.generation_requests[0].json == BODY


async def test_completions_go_to_their_route(server, said):
    server.enqueue(said("5"))
    async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
        assert (await Asker(http, EndpointType.COMPLETIONS, Redactor()).ask({"prompt": "2+3="})).text == "5"
    assert server.requests[0].path == "/v1/completions"


async def test_null_content_is_an_empty_answer(client, server, said):
    server.enqueue(said(None))
    assert (await client.ask(BODY)).text == ""


@pytest.mark.parametrize(
    "reply",
    [
        Reply(status=503),
        Reply(status=504),
        Reply(fault=Fault.CLOSE_BEFORE_ANSWER),
        Reply(fault=Fault.CLOSE_IN_STATUS_LINE),
    ],
)
async def test_transport_errors_are_tried_again(client, server, said, waits, reply):
    server.enqueue(reply, reply, said("Paris"))
    answer = await client.ask(BODY)
    assert (answer.text, answer.attempts) == ("Paris", 3)
    assert waits == [0.5, 1.0]


async def test_attempts_are_limited_and_the_error_is_named(client, server, refused, waits):
    server.on(CHAT, refused(503, "Loading model"))
    answer = await client.ask(BODY)
    assert answer.error == "HTTP 503: Loading model"
    assert (answer.attempts, len(waits), len(server.requests)) == (4, 3, 4)


@pytest.mark.parametrize("status", [400, 413, 422, 429, 500])
async def test_other_errors_are_the_last_word(client, server, refused, status):
    server.on(CHAT, refused(status, "too long"))
    answer = await client.ask(BODY)
    assert (answer.error, answer.attempts) == (f"HTTP {status}: too long", 1)


async def test_x_should_retry_false_is_obeyed(client, server, refused):
    server.on(CHAT, refused(504, "replay miss", headers={"x-should-retry": "false"}))
    assert (await client.ask(BODY)).attempts == 1


@pytest.mark.parametrize(
    ("status", "advice"), [(401, "--api-key-name"), (403, "--api-key-name"), (404, "--type chat or completions")]
)
async def test_what_every_request_would_get_ends_the_run(client, server, refused, status, advice):
    server.on(CHAT, refused(status, "the server's reason"))
    with pytest.raises(EndpointError, match="the server's reason") as caught:
        await client.ask(BODY)
    assert advice in str(caught.value)
    assert len(server.requests) == 1


async def test_an_unreachable_upstream_ends_the_run_after_all_attempts(client, server, refused):
    server.on(CHAT, refused(502, "connection refused by 127.0.0.1:9", "upstream_unreachable"))
    with pytest.raises(EndpointError, match="cannot be reached: connection refused"):
        await client.ask(BODY)
    assert len(server.requests) == 4


async def test_a_server_that_is_gone_ends_the_run(client, server, waits):
    server.stop()
    with pytest.raises(EndpointError, match="cannot be reached"):
        await client.ask(BODY)
    assert len(waits) == 3


@pytest.mark.parametrize(
    "document", [b"<html>", b"[]", b'{"choices": []}', b'{"choices": [3]}', b'{"choices": [{"message": 3}]}',
                 b'{"choices": [{"message": {"content": ["a"]}}]}'],
)  # fmt: skip
async def test_an_answer_without_text_is_an_error(client, server, document):
    server.enqueue(Reply(body=document))
    answer = await client.ask(BODY)
    assert answer.error
    assert answer.text == ""


async def test_a_long_error_page_is_cut(client, server):
    server.enqueue(Reply(status=500, body=b"x" * 5000))
    assert len((await client.ask(BODY)).error) < 400


async def test_models_are_the_listed_ids(client, server):
    server.on("/v1/models", Reply(json={"data": [{"id": "a"}, {"id": "b"}, {}, 3]}))
    assert await client.models() == ["a", "b"]


@pytest.mark.parametrize(
    "reply", [Reply(status=404), Reply(status=500, body=b"oops"), Reply(json=[]), Reply(json={"data": 3})]
)
async def test_a_server_without_a_list_of_models_is_fine(client, server, reply):
    server.on("/v1/models", reply)
    assert await client.models() == []


async def test_models_finds_a_wrong_key_and_an_unreachable_server(client, server, refused):
    server.on("/v1/models", refused(401, "bad key"))
    with pytest.raises(EndpointError, match="bad key"):
        await client.models()
    server.on("/v1/models", refused(502, "refused", "upstream_unreachable"))
    with pytest.raises(EndpointError, match="cannot be reached: refused"):
        await client.models()
    server.stop()
    with pytest.raises(EndpointError, match="cannot be reached: ConnectError"):
        await client.models()


@pytest.mark.parametrize("status", [400, 401, 502])
async def test_a_key_that_the_server_repeats_is_not_in_the_error(client, server, refused, status):
    server.on(CHAT, refused(status, f"Incorrect API key: {KEY}", "upstream_unreachable"))
    try:
        said = (await client.ask(BODY)).error
    except EndpointError as error:
        said = str(error)
    assert "Incorrect API key: [redacted]" in said
    assert KEY not in said


async def test_the_list_of_models_says_no_key_either(client, server, refused):
    server.on("/v1/models", refused(401, f"Incorrect API key: {KEY}"))
    with pytest.raises(EndpointError, match=r"Incorrect API key: \[redacted\]") as caught:
        await client.models()
    assert KEY not in str(caught.value)


async def test_a_run_that_was_given_up_ends_at_once(client, server, refused, waits):
    server.enqueue(refused(424, "400 from the model server", "run_aborted"))
    with pytest.raises(EndpointError, match="the run was given up: 400 from the model server\nMend"):
        await client.ask(BODY)
    assert waits == []


async def test_a_sample_that_is_on_its_way_is_asked_for_again(client, server, said, refused, waits):
    server.enqueue(refused(409, "busy", "sample_busy"), said("x"))
    assert (await client.ask(BODY, {"x-evalside-sample": "3"})).text == "x"
    assert len(waits) == 1
    assert server.generation_requests[-1].header("x-evalside-sample") == "3"
