"""The answers are those of real servers, or made after their source code and API references."""

import copy
import json

import pytest

from proxy.wire.identity import PATHS, ServerFacts, answered_text, credentials, digest, is_credential, read, start_time
from tests.unit.wire.model_servers import (
    LLAMA_CPP,
    NIM,
    OLLAMA,
    OPENAI,
    SERVERS,
    SGLANG,
    TENSORRT_LLM,
    TGI,
    TRANSFORMERS,
    VLLM,
)


def told(documents) -> ServerFacts:
    return read(
        {
            path.encode(): document.encode() if isinstance(document, str) else json.dumps(document).encode()
            for path, document in documents.items()
        }
    )


def changed(documents, path, *keys, value="another"):
    documents = copy.deepcopy(documents)
    if isinstance(documents[path], str):
        documents[path] = documents[path].replace(*keys)
        return documents
    place = documents[path]
    for key in keys[:-1]:
        place = place[key]
    assert place[keys[-1]] != value
    place[keys[-1]] = value
    return documents


def whole(facts: ServerFacts, model=None) -> dict[str, str]:
    return facts.of(model) | dict(facts.instance)


CARD = ("/v1/models", "data", 0)
PROPS = ("/props",)
PARAMS = ("/props", "default_generation_settings", "params")
FACTS = [
    *(("llama.cpp", *CARD, name) for name in ("id", "owned_by", "aliases")),
    *(("llama.cpp", *CARD, "meta", name) for name in LLAMA_CPP["/v1/models"]["data"][0]["meta"]),
    *(("llama.cpp", *PROPS, name) for name in ("model_path", "model_ftype", "build_info", "chat_template")),
    *(("llama.cpp", *PROPS, name) for name in ("modalities", "bos_token", "eos_token")),
    *(("llama.cpp", *PARAMS, name) for name in ("temperature", "top_k", "repeat_penalty", "samplers")),
    ("llama.cpp", "/props", "default_generation_settings", "n_ctx"),
    *(("llama.cpp", "/lora-adapters", 0, name) for name in ("id", "path", "scale")),
    *(("vllm", *CARD, name) for name in ("id", "owned_by", "root", "parent", "max_model_len")),
    ("vllm", "/version", "version"),
    ("vllm", "/metrics", "1.79547387112e+09", "1.79547387113e+09"),
    *(("sglang", *CARD, name) for name in ("id", "owned_by", "root", "max_model_len")),
    *(("sglang", "/get_model_info", name) for name in SGLANG["/get_model_info"]),
    *(("sglang", "/get_server_info", name) for name in ("model_path", "dtype", "quantization", "kv_cache_dtype")),
    *(("sglang", "/get_server_info", name) for name in ("context_length", "weight_version", "random_seed", "version")),
    *(("tgi", *CARD, name) for name in ("id", "owned_by")),
    *(("tgi", "/info", name) for name in TGI["/info"] if name != "max_concurrent_requests"),
    *(("nim", "/v1/metadata", name) for name in ("version", "selectedModelProfileId", "repository_override")),
    *(("nim", "/v1/metadata", "modelInfo", 0, name) for name in ("shortName", "modelUrl")),
    *(("nim", "/v1/version", name) for name in ("release", "api")),
    ("nim", "/v1/metrics", "1.7e+09", "1.8e+09"),
    ("ollama", "/api/version", "version"),
    ("ollama", "/api/tags", "models", 0, "digest"),
    ("ollama", "/api/tags", "models", 0, "name"),
    ("tensorrt-llm", "/version", "version"),
    ("tensorrt-llm", *CARD, "id"),
    *(("transformers", *CARD, name) for name in ("id", "owned_by")),
    *(("openai", *CARD, name) for name in ("id", "owned_by")),
]
VARYING = [
    *((server, *CARD, "created") for server in SERVERS),
    ("vllm", *CARD, "permission", 0, "id"),
    ("vllm", *CARD, "permission", 0, "created"),
    ("vllm", "/metrics", "} 3.0", "} 4.0"),
    *(("llama.cpp", *PROPS, name) for name in ("media_marker", "is_sleeping", "total_slots")),
    ("llama.cpp", *PARAMS, "seed"),
    ("llama.cpp", "/v1/models", "models"),
    ("llama.cpp", "/metrics", "total 0", "total 9"),
    *(("sglang", "/get_server_info", name) for name in ("uptime", "status", "internal_states", "api_key")),
    ("tgi", "/metrics", "count 7", "count 8"),
    ("tgi", "/info", "max_concurrent_requests"),
    ("nim", "/v1/metadata", "licenseInfo"),
    ("nim", "/v1/metrics", "running 1.0", "running 2.0"),
    *(("ollama", "/api/tags", "models", 0, name) for name in ("modified_at", "size")),
    ("tensorrt-llm", "/metrics", 0, "iter"),
]


@pytest.mark.parametrize("server", SERVERS)
def test_the_kind_of_a_server_is_recognized(server):
    assert told(SERVERS[server]).server == server


@pytest.mark.parametrize(("server", "where"), [(server, where) for server, *where in FACTS])
def test_a_fact_changes_what_is_told(server, where):
    documents = SERVERS[server]
    value = 7 if where[-1] == "random_seed" else "another"
    assert whole(told(changed(documents, *where, value=value))) != whole(told(documents))


@pytest.mark.parametrize(("server", "where"), [(server, where) for server, *where in VARYING])
def test_what_varies_by_itself_does_not(server, where):
    documents = SERVERS[server]
    assert told(changed(documents, *where)) == told(documents)


def test_the_sign_of_the_instance_is_apart_from_the_facts():
    assert told(VLLM).instance == {"metrics.process_start_time_seconds": "1.79547387112e+09"}
    assert told(NIM).instance == {"metrics.process_start_time_seconds": "1.7e+09"}
    assert told(SGLANG).instance == {"server_info.random_seed": "512803418"}
    for server in (LLAMA_CPP, TGI, OLLAMA, TENSORRT_LLM, TRANSFORMERS, OPENAI):
        assert told(server).instance == {}
    restarted = told(changed(VLLM, "/metrics", "1.79547387112e+09", "1.8e+09"))
    assert restarted.of("llama") == told(VLLM).of("llama")


def test_an_adapter_loaded_elsewhere_changes_nothing_for_the_base_model():
    alone = copy.deepcopy(VLLM)
    del alone["/v1/models"]["data"][1]
    assert told(alone).of("llama") == told(VLLM).of("llama")
    assert told(alone).of("sql") != told(VLLM).of("sql")


def test_an_adapter_has_the_facts_of_its_base_model_too():
    assert told(changed(VLLM, *CARD, "root")).of("sql") != told(VLLM).of("sql")
    assert told(changed(VLLM, "/v1/models", "data", 1, "root")).of("sql") != told(VLLM).of("sql")


def test_a_name_that_is_not_listed_may_mean_any_model():
    assert told(LLAMA_CPP).of("gpt-4") == told(LLAMA_CPP).of(None) == told(LLAMA_CPP).of("smollm2")
    assert told(VLLM).of("gpt-4") == {**told(VLLM).of("llama"), **told(VLLM).of("sql")}


def test_a_name_without_a_tag_means_the_latest():
    assert told(OLLAMA).of("llama3") == told(OLLAMA).of("llama3:latest") != told(OLLAMA).of(None)
    assert told(OLLAMA).of("llama3")["tags[llama3:latest].digest"] == "a80c4f17"


@pytest.mark.parametrize(("old", "new"), [("/get_model_info", "/model_info"), ("/get_server_info", "/server_info")])
def test_an_older_name_of_a_route_tells_the_same(old, new):
    renamed = {new if path == old else path: document for path, document in SGLANG.items()}
    assert whole(told(renamed)) == whole(told(SGLANG))
    both = told(SGLANG | {new: SGLANG[old]})
    assert whole(both) == whole(told(SGLANG))
    assert new.encode() in both.paths
    assert old.encode() not in both.paths


@pytest.mark.parametrize("server", SERVERS)
def test_the_routes_that_told_something_are_enough(server):
    answers = {path.encode(): json.dumps(text).encode() for path, text in SERVERS[server].items() if path != "/metrics"}
    facts = read(answers)
    assert facts.paths
    assert read({path: answers[path] for path in facts.paths}) == facts


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff",
        b"null",
        b"7",
        b'"text"',
        b"{}",
        b'{"data":7,"models":7,"version":null,"modelInfo":7}',
        b'{"data":["x",{},{"id":7}],"models":["x",{},{"name":7}]}',
        b'{"data":[],"models":[]}',
        b'{"default_generation_settings":7,"random_seed":null}',
        b'{"default_generation_settings":{"params":[]}}',
    ],
)
def test_what_is_not_of_the_expected_shape_tells_nothing(body):
    facts = read(dict.fromkeys(PATHS, body))
    assert (facts.server, facts.paths, whole(facts)) == ("unknown", (), {})


def test_a_server_without_any_answer_tells_nothing():
    assert read({}) == ServerFacts()


def test_that_there_is_no_adapter_is_a_fact():
    assert whole(told({"/lora-adapters": []})) == {"lora_adapters": "[]"}


def test_the_kind_without_its_usual_owner():
    assert told({"/get_model_info": SGLANG["/get_model_info"]}).server == "sglang"
    assert told({"/v1/models": {"data": [{"id": "a/b"}]}}).server == "openai"


@pytest.mark.parametrize("secret", ["sk-of-the-server", "sk-of-its-admin"])
def test_keys_that_a_server_tells_are_not_facts(secret):
    assert secret not in repr(told(SGLANG))


@pytest.mark.parametrize("address", ["https://user:secret@host/x", "s3://bucket/x?signature=secret", "secret" * 50])
def test_addresses_with_credentials_and_long_values_are_kept_as_hashes(address):
    facts = told(changed(NIM, "/v1/metadata", "repository_override", value=address))
    assert facts.shared["metadata.repository_override"].startswith("sha256:")
    assert "secret" not in repr(facts)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"process_start_time_seconds 1.5e+09\n", "1.5e+09"),
        (b"a 1\r\nprocess_start_time_seconds 1.5e+09\r\nb 2\r\n", "1.5e+09"),
        (b'process_start_time_seconds{pid="7"} 2\n', "2"),
        (b"process_start_time_seconds\t3 1700000000\n", "3"),
        (b"process_start_time_seconds 1.5e", None),
        (b"# HELP process_start_time_seconds Start time\n", None),
        (b"other_process_start_time_seconds 1\n", None),
        (b"process_start_time_seconds_total 1\n", None),
        (b"", None),
    ],
)
def test_the_start_time_in_metrics(text, found):
    assert start_time(text) == found


def test_the_fields_that_say_who_asks():
    asked = [(b"authorization", b"Bearer a"), (b"accept", b"*/*"), (b"openai-project", b"p"), (b"cookie", b"c")]
    assert credentials(asked) == [asked[0], asked[2]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("api-key", True),
        ("cf-aig-authorization", True),
        ("helicone-auth", True),
        ("ocp-apim-subscription-key", True),
        ("openai-organization", True),
        ("x-api-key", True),
        ("x-auth-token", True),
        ("x-goog-api-key", True),
        ("x-portkey-virtual-key", True),
        ("cookie", False),
        ("idempotency-key", False),
        ("user-agent", False),
        ("x-csrf-token", False),
        ("x-keyword", False),
        ("x-session-id", False),
    ],
)
def test_every_gateways_name_for_its_key_says_who_asks_and_what_is_new_each_time_does_not(name, expected):
    assert is_credential(name.encode()) is expected


def test_the_digest_is_of_the_facts_in_any_order():
    assert digest({"a": "1", "b": "2"}) == digest({"b": "2", "a": "1"}) != digest({"a": "1", "b": "3"})
    assert digest({"models[m].root": "r"}) == "b9ea6c339485a22fec511f389a1711e2cebe41372f24cf0506d7d56ba4ec0d55"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"choices": [{"message": {"content": "Hello"}}]}, "Hello"),
        ({"choices": [{"message": {"content": None, "reasoning_content": "Hm"}}]}, "Hm"),
        ({"choices": [{"message": {"content": "", "reasoning": "Hm"}}]}, "Hm"),
        ({"choices": [{"text": "Hello"}]}, "Hello"),
        ({"choices": [{"text": ""}]}, None),
        ({"choices": [{"message": {"content": [7]}}]}, None),
        ({"choices": []}, None),
        ({"error": {}}, None),
    ],
)
def test_what_a_model_answered(document, text):
    assert answered_text(json.dumps(document).encode()) == text


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        ({"owned_by": "local", "status": {"value": "loaded"}}, "transformers"),
        ({"owned_by": "local", "status": {"value": 1}}, "openai"),
        ({"owned_by": "local"}, "openai"),
        ({"owned_by": "system", "status": {"value": "loaded"}}, "openai"),
    ],
)
def test_transformers_serve_is_known_by_a_folder_that_it_loaded(entry, kind):
    folder = {"object": "list", "data": [{"id": "smollm2-hf", "object": "model", "created": 0, **entry}]}
    assert told({"/v1/models": folder}).server == kind
