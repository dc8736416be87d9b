"""Embeddings, ranking, responses, messages, tokenization and what a server tells about itself."""

import base64
import json
import math
import struct

import httpx
import pytest

from proxy.testing import tokenizer


def get(server, path, method="GET"):
    return httpx.request(method, server.url + path, trust_env=False)


# -- embeddings --------------------------------------------------------------------------------------------------------


def test_embeddings_as_floats_and_base64_are_the_same_numbers(post):
    floats = post("/v1/embeddings", {"input": "x"}).json()["data"][0]["embedding"]
    coded = post("/v1/embeddings", {"input": "x", "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert list(struct.unpack("<16f", base64.b64decode(coded))) == floats
    assert math.isclose(sum(value * value for value in floats), 1, rel_tol=1e-5)


def test_embeddings_of_a_list_keep_its_order(sdk):
    ids = tokenizer.encode("two words")
    answer = sdk.embeddings.create(model="m", input=["one", "two words"], dimensions=5)
    assert [item.index for item in answer.data] == [0, 1]
    assert [len(item.embedding) for item in answer.data] == [5, 5]
    assert answer.data[0].embedding != answer.data[1].embedding
    by_ids = sdk.embeddings.create(model="m", input=[ids], dimensions=5)
    assert by_ids.data[0].embedding == answer.data[1].embedding
    assert answer.usage.prompt_tokens == len(tokenizer.encode("one")) + len(ids)


@pytest.mark.parametrize("body", [{}, {"input": []}, {"input": "x", "encoding_format": "int8"}])
def test_bad_embedding_requests_are_400(post, body):
    assert post("/v1/embeddings", body).status_code == 400


# -- ranking -----------------------------------------------------------------------------------------------------------


def test_rerank_orders_documents(post):
    answer = post("/v1/rerank", {"query": "q", "documents": ["a", "b", {"text": "c"}], "top_n": 2}).json()
    scores = [result["relevance_score"] for result in answer["results"]]
    assert len(scores) == 2
    assert scores == sorted(scores, reverse=True)
    assert all(result["document"]["text"] == "abc"[result["index"]] for result in answer["results"])


def test_score_compares_one_text_with_many(post):
    answer = post("/v1/score", {"text_1": "q", "text_2": ["a", "b"]}).json()
    assert [item["index"] for item in answer["data"]] == [0, 1]
    assert all(0 <= item["score"] <= 1 for item in answer["data"])
    assert post("/v1/score", {"text_1": ["q", "r"], "text_2": "a"}).status_code == 400


# -- responses ---------------------------------------------------------------------------------------------------------


def test_responses_plain_and_streamed_say_the_same(sdk):
    fields = {"model": "m", "input": "hi", "instructions": "be kind", "temperature": 0}
    plain = sdk.responses.create(**fields)
    events = list(sdk.responses.create(stream=True, **fields))
    assert plain.status == "completed"
    assert plain.usage.total_tokens == plain.usage.input_tokens + plain.usage.output_tokens
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == plain.output_text
    assert [events[0].type, events[-1].type] == ["response.created", "response.completed"]
    assert events[-1].response.output_text == plain.output_text
    assert [event.sequence_number for event in events] == list(range(len(events)))


def test_a_response_that_is_cut_is_incomplete(sdk):
    answer = sdk.responses.create(model="m", input=[{"role": "user", "content": "hi"}], max_output_tokens=2)
    assert (answer.status, answer.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    assert answer.usage.output_tokens == 2


def test_responses_call_flat_tools(sdk):
    tool = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"a": {"type": "integer"}}}}
    fields = {"model": "m", "input": "hi", "tools": [tool], "tool_choice": "required"}
    [item] = sdk.responses.create(**fields).output
    assert (item.type, item.name, json.loads(item.arguments)) == ("function_call", "f", {"a": 1})
    deltas = [
        event.delta for event in sdk.responses.create(stream=True, **fields) if event.type.endswith("ments.delta")
    ]
    assert "".join(deltas) == item.arguments


# -- messages ----------------------------------------------------------------------------------------------------------

MESSAGE = {"model": "m", "max_tokens": 50, "messages": [{"role": "user", "content": "hi"}], "temperature": 0}


def test_messages_plain_and_streamed_say_the_same(post):
    plain = post("/v1/messages", MESSAGE).json()
    stream = post("/v1/messages", {**MESSAGE, "stream": True}).text
    events = [event.split("\n") for event in stream.split("\n\n")[:-1]]
    data = [json.loads(line.removeprefix("data: ")) for _, line in events]
    assert [name.removeprefix("event: ") for name, _ in events] == [item["type"] for item in data]
    text = "".join(item["delta"]["text"] for item in data if item["type"] == "content_block_delta")
    assert plain["content"] == [{"type": "text", "text": text}]
    kinds = list(dict.fromkeys(item["type"] for item in data))
    assert kinds == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert data[-2]["usage"]["output_tokens"] == plain["usage"]["output_tokens"] > 0
    assert plain["stop_reason"] == data[-2]["delta"]["stop_reason"] == "end_turn"


def test_messages_say_why_they_stopped(post, server):
    assert post("/v1/messages", {**MESSAGE, "max_tokens": 1}).json()["stop_reason"] == "max_tokens"
    server.options.answer = "one two"
    stopped = post("/v1/messages", {**MESSAGE, "stop_sequences": [" two"]}).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", " two")


def test_messages_errors_have_their_own_shape(post):
    answer = post("/v1/messages", {"messages": MESSAGE["messages"]})
    assert answer.status_code == 400
    assert answer.json()["type"] == "error"
    assert answer.json()["error"]["type"] == "invalid_request_error"


# -- tokenization ------------------------------------------------------------------------------------------------------


def test_tokenize_and_detokenize_are_inverse(post):
    answer = post("/tokenize", {"prompt": "Hello wörld", "return_token_strs": True}).json()
    assert answer["count"] == len(answer["tokens"]) == len(answer["token_strs"])
    assert answer["max_model_len"] == 131072
    assert post("/detokenize", {"tokens": answer["tokens"]}).json() == {"prompt": "Hello wörld"}


def test_tokenizing_messages_counts_the_prompt_tokens_of_chat(post):
    body = {"messages": MESSAGE["messages"]}
    counted = post("/tokenize", body).json()["count"]
    assert post("/v1/chat/completions", body).json()["usage"]["prompt_tokens"] == counted


@pytest.mark.parametrize(
    ("path", "body"), [("/tokenize", {}), ("/detokenize", {"tokens": "x"}), ("/detokenize", {"tokens": [-1]})]
)
def test_bad_tokenization_requests_are_400(post, path, body):
    assert post(path, body).status_code == 400


# -- the server itself -------------------------------------------------------------------------------------------------


def test_health_version_and_metrics(server):
    health = get(server, "/health")
    assert (health.status_code, health.content) == (200, b"")
    assert get(server, "/version").json() == {"version": "0.11.0"}
    metrics = get(server, "/metrics")
    assert "process_start_time_seconds " in metrics.text
    assert 'vllm:num_requests_running{model_name="mock-model"} ' in metrics.text
    head = get(server, "/metrics", "HEAD")
    assert (head.status_code, head.content) == (200, b"")


def test_metrics_count_running_requests(connect, server, chat_request):
    server.options.latency = 30
    connect().send(chat_request)
    server.wait_for_requests(1)
    assert 'running{model_name="mock-model"} 1.0' in get(server, "/metrics").text


def test_models_list_and_one_model(make_server):
    server = make_server("org/model", root="/weights", max_model_len=512)
    [card] = get(server, "/v1/models").json()["data"]
    assert (card["id"], card["root"], card["max_model_len"]) == ("org/model", "/weights", 512)
    assert get(server, "/v1/models/org/model").json()["id"] == "org/model"
    assert get(server, "/v1/models/org%2Fmodel").status_code == 200
    assert get(server, "/v1/models/other").json()["error"]["code"] == 404


def test_unknown_routes_and_methods(server):
    assert get(server, "/tokenizer_info").status_code == 404
    assert get(server, "/v1/nothing").json()["error"]["type"] == "NotFoundError"
    assert get(server, "/v1/chat/completions").status_code == 405
    assert get(server, "/v1/models", "DELETE").status_code == 405


def test_another_model_is_404_only_where_that_is_strict(make_server, post):
    body = {"model": "other", "prompt": "x"}
    assert post("/v1/completions", body).json()["model"] == "other"
    strict = make_server(strict_model=True)
    answer = httpx.post(f"{strict.url}/v1/completions", json=body, trust_env=False)
    assert (answer.status_code, answer.json()["error"]["message"]) == (404, "The model `other` does not exist.")


def test_a_key_is_needed_under_v1_only(server):
    server.options.api_key = "secret"
    assert get(server, "/health").status_code == 200
    assert get(server, "/v1/models").json()["error"]["type"] == "AuthenticationError"
    for name, value in (("authorization", "Bearer secret"), ("x-api-key", "secret")):
        answer = httpx.get(f"{server.url}/v1/models", headers={name: value}, trust_env=False)
        assert answer.status_code == 200
    wrong = httpx.get(f"{server.url}/v1/models", headers={"authorization": "Bearer wrong"}, trust_env=False)
    assert wrong.status_code == 401


def test_errors_may_use_another_key(post, server):
    server.options.error_key = "detail"
    assert post("/v1/completions", {}).json() == {"detail": "prompt is required"}


def test_an_answer_function_that_raises_is_a_500_that_says_so(post, server):
    server.options.answer = lambda body, choice, call: body["missing"]
    answer = post("/v1/completions", {"prompt": "x"})
    assert answer.status_code == 500
    assert "KeyError" in answer.json()["error"]["message"]


def test_latency_and_pace_delay_plain_and_streamed_answers(post, server):
    server.options.answer = "a b c d e"
    server.options.latency, server.options.tokens_per_second = 0.05, 100
    plain = post("/v1/completions", {"prompt": "x"})
    streamed = post("/v1/completions", {"prompt": "x", "stream": True})
    assert plain.elapsed.total_seconds() > 0.09
    assert streamed.elapsed.total_seconds() > 0.09
