"""The answers are those of real servers, or made after their source code and API references."""

import copy
import json
from typing import Any

import pytest

from proxy.wire.identity import PATHS, ServerFacts, answered_text, digest, read, start_time

Documents = dict[str, Any]

LLAMA_CPP: Documents = {
    "/v1/models": {
        "object": "list",
        "models": [{"name": "smollm2", "digest": "", "modified_at": ""}],
        "data": [
            {
                "id": "smollm2",
                "aliases": ["smollm2"],
                "object": "model",
                "created": 1795473871,
                "owned_by": "llamacpp",
                "meta": {
                    "vocab_type": 2,
                    "n_vocab": 49152,
                    "n_ctx": 8192,
                    "n_ctx_train": 8192,
                    "n_embd": 576,
                    "n_params": 134515008,
                    "size": 96576768,
                    "ftype": "Q4_1",
                },
            }
        ],
    },
    "/props": {
        "default_generation_settings": {
            "params": {
                "seed": 4294967295,
                "temperature": 0.800000011920929,
                "top_k": 40,
                "repeat_penalty": 1.0,
                "samplers": ["top_k", "temperature"],
            },
            "n_ctx": 8192,
        },
        "total_slots": 1,
        "model_alias": "smollm2",
        "model_ftype": "Q4_1",
        "model_path": "/models/SmolLM2-135M-Instruct.Q4_1.gguf",
        "modalities": {"vision": False, "audio": False},
        "media_marker": "<__media_z3c05sVqq4xi0XZiPNsfcp33MEVdz8iC__>",
        "chat_template": "{% for message in messages %}" + 200 * "x",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "build_info": "b0-unknown",
        "is_sleeping": False,
    },
    "/lora-adapters": [{"id": 0, "path": "a.gguf", "scale": 1.0}],
    "/metrics": "# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total 0\n",
}
VLLM: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [
            {
                "id": "llama",
                "object": "model",
                "created": 1795473871,
                "owned_by": "vllm",
                "root": "meta-llama/Llama-3.1-8B-Instruct",
                "parent": None,
                "max_model_len": 131072,
                "permission": [{"id": "modelperm-1", "created": 1795473871, "allow_view": True}],
            },
            {
                "id": "sql",
                "object": "model",
                "created": 1795473871,
                "owned_by": "vllm",
                "root": "/adapters/sql",
                "parent": "llama",
                "max_model_len": None,
                "permission": [],
            },
        ],
    },
    "/version": {"version": "0.11.0"},
    "/metrics": (
        "# TYPE process_start_time_seconds gauge\nprocess_start_time_seconds 1.79547387112e+09\n"
        'vllm:num_requests_running{engine="0",model_name="llama"} 3.0\n'
    ),
}
SGLANG: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [
            {
                "id": "qwen",
                "object": "model",
                "created": 1795473871,
                "owned_by": "sglang",
                "root": "qwen",
                "parent": None,
                "max_model_len": 32768,
            }
        ],
    },
    "/get_model_info": {
        "model_path": "qwen/qwen2.5-0.5b-instruct",
        "tokenizer_path": "qwen/qwen2.5-0.5b-instruct",
        "is_generation": True,
        "preferred_sampling_params": {"top_k": 20},
        "weight_version": "default",
        "model_type": "qwen2",
        "architectures": ["Qwen2ForCausalLM"],
    },
    "/get_server_info": {
        "model_path": "qwen/qwen2.5-0.5b-instruct",
        "dtype": "auto",
        "quantization": "fp8",
        "kv_cache_dtype": "auto",
        "context_length": 32768,
        "weight_version": "default",
        "api_key": "sk-of-the-server",
        "admin_api_key": "sk-of-its-admin",
        "random_seed": 512803418,
        "status": "ready",
        "uptime": 5.5,
        "internal_states": [{"last_gen_throughput": 12.5, "memory_usage": {"weight": 0.98}}],
        "version": "0.5.6",
    },
}
TGI: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "bigcode/santacoder", "object": "model", "created": 0, "owned_by": "bigcode/santacoder"}],
    },
    "/info": {
        "model_id": "bigcode/santacoder",
        "model_sha": "e985a63cdc139290c5f700ff1929f0b5942cced2",
        "model_dtype": "torch.float16",
        "model_device_type": "cuda",
        "model_pipeline_tag": "text-generation",
        "max_concurrent_requests": 128,
        "max_input_tokens": 1024,
        "max_total_tokens": 2048,
        "router": "text-generation-router",
        "version": "3.3.4",
        "sha": "9f38d9305168f4b47c8c46b573f5b2c07881281d",
        "docker_label": "sha-9f38d93",
    },
    "/metrics": "# TYPE tgi_request_count counter\ntgi_request_count 7\n",
}
NIM: Documents = {
    "/v1/models": VLLM["/v1/models"],
    "/v1/metadata": {
        "assetInfo": [],
        "licenseInfo": {"name": "NVIDIA AI", "path": "/LICENSE", "sha": "1", "size": "2", "url": "x", "content": "y"},
        "modelInfo": [
            {"shortName": "llama-3.1-8b-instruct:hf", "modelUrl": "ngc://nim/meta/llama-3.1-8b-instruct:hf-8c22764"}
        ],
        "repository_override": "",
        "selectedModelProfileId": "4f904d571fe60ff24695b5ee2aa42da58cb460787a968f1e8a09f5a7e862728d",
        "version": "1.13.1",
    },
    "/v1/version": {"release": "1.13.1", "api": "1.13.1"},
    "/v1/metrics": "process_start_time_seconds 1.7e+09\nnum_requests_running 1.0\n",
}
OLLAMA: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [
            {"id": "llama3:latest", "object": "model", "created": 1795473871, "owned_by": "library"},
            {"id": "qwen3:8b", "object": "model", "created": 1795473871, "owned_by": "library"},
        ],
    },
    "/api/version": {"version": "0.12.6"},
    "/api/tags": {
        "models": [
            {"name": "llama3:latest", "digest": "a80c4f17", "size": 1, "modified_at": "2025-10-03T23:34:03Z"},
            {"name": "qwen3:8b", "digest": "500a1f06", "size": 2, "modified_at": "2025-10-03T23:34:03Z"},
        ]
    },
}
TENSORRT_LLM: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "tiny", "object": "model", "created": 1795473871, "owned_by": "tensorrt_llm"}],
    },
    "/version": {"version": "1.1.0"},
    "/metrics": [{"cpuMemUsage": 1, "iter": 7}],
}
TRANSFORMERS: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [
            {"owned_by": "Qwen", "id": "Qwen/Qwen3-8B", "object": "model", "created": 1795473871.5},
            {"owned_by": "google", "id": "google/gemma-3-1b-it", "object": "model", "created": 1795473871.5},
        ],
    }
}
OPENAI: Documents = {
    "/v1/models": {
        "object": "list",
        "data": [{"id": "gpt-4o-mini", "object": "model", "created": 1721172741, "owned_by": "system"}],
    }
}
SERVERS = {
    "llama.cpp": LLAMA_CPP,
    "vllm": VLLM,
    "sglang": SGLANG,
    "tgi": TGI,
    "nim": NIM,
    "ollama": OLLAMA,
    "tensorrt-llm": TENSORRT_LLM,
    "transformers": TRANSFORMERS,
    "openai": OPENAI,
}


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
