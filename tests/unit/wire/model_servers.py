"""What model servers of each kind tell about themselves, as they answered or as their sources say."""

from typing import Any

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
