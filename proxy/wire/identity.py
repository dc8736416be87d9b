"""What model servers tell about themselves: from the raw answers of their information routes to facts.

Only what is listed here is read. What varies by itself is left out: `created`, llama.cpp's `media_marker`, permission
ids, uptime, counters, sleep and slot states.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import orjson

from proxy.core.http import Headers

MODELS = b"/v1/models"
METRICS = frozenset({b"/metrics", b"/v1/metrics"})
"""Prometheus text; nothing is read of it but the line that says when the process started."""

_ACCOUNTS = frozenset({b"openai-organization", b"openai-project"})
_KEY_NAME = re.compile(rb"authori[sz]ation|authentication|api[-_]?key|(^|[-_.])(auth|key|token)$")
_OF_ONE_REQUEST = re.compile(rb"idempotency|csrf|xsrf")
"""Named like keys, and new with every request."""

_START_TIME = "metrics.process_start_time_seconds"
_RANDOM_SEED = "server_info.random_seed"
"""Of SGLang, whose metrics have no start time: drawn anew at every start unless --random-seed is given."""
SIGNS = frozenset({_START_TIME, _RANDOM_SEED})
"""Facts about the running instance, not about the model: a restart changes them and nothing else does."""
_START_LINE = re.compile(rb"^process_start_time_seconds(?:\{[^}\n]*\})?[ \t]+(\S+)[^\n]*\n", re.MULTILINE)
_LONGEST = 200
"""Characters of a value that is kept as it is; longer ones are kept as their hash."""

# Fields by route. Sources: answers of a real llama.cpp (/props, /v1/models, /lora-adapters); ModelCard in vLLM's and
# TensorRT-LLM's openai protocol; SGLang's http_server.py and server_args.py; Info in text-generation-inference's
# router/src/lib.rs; NIM's API reference; Ollama's docs/api.md; model_manager.py of transformers serve.
_CARD = ("owned_by", "root", "parent", "max_model_len", "aliases")
_CARD_META = ("vocab_type", "n_vocab", "n_ctx", "n_ctx_train", "n_embd", "n_params", "size", "ftype")
_PROPS = (
    "model_path", "model_ftype", "build_info", "chat_template", "chat_template_tool_use", "modalities", "bos_token",
    "eos_token",
)  # fmt: skip
_PROPS_PARAMS = (
    "dynatemp_range", "dynatemp_exponent", "top_k", "top_p", "min_p", "top_n_sigma", "xtc_probability", "xtc_threshold",
    "typical_p", "repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier",
    "dry_base", "dry_allowed_length", "dry_penalty_last_n", "mirostat", "mirostat_tau", "mirostat_eta",
    "adaptive_target", "adaptive_decay", "temperature", "max_tokens", "n_predict", "n_keep", "n_discard", "ignore_eos",
    "min_keep", "reasoning_format", "samplers", "speculative.types",
)  # fmt: skip
_LORA = ("id", "path", "scale")
_MODEL_INFO = (
    "model_path", "tokenizer_path", "is_generation", "preferred_sampling_params", "weight_version", "model_type",
    "architectures",
)  # fmt: skip
_SERVER_INFO = (
    "version", "model_path", "tokenizer_path", "tokenizer_mode", "revision", "load_format", "dtype", "quantization",
    "kv_cache_dtype", "context_length", "weight_version", "chat_template", "completion_template", "tool_call_parser",
    "reasoning_parser", "preferred_sampling_params", "sampling_defaults", "sampling_backend", "attention_backend",
    "grammar_backend", "json_model_override_args", "tp_size", "dp_size", "pp_size", "ep_size", "lora_paths",
    "speculative_algorithm", "speculative_draft_model_path", "enable_deterministic_inference",
)  # fmt: skip
_INFO = (
    "model_id", "model_sha", "model_dtype", "model_device_type", "model_pipeline_tag", "max_input_length",
    "max_input_tokens", "max_total_tokens", "quantize", "router", "version", "sha", "docker_label",
)  # fmt: skip
_METADATA = ("version", "selectedModelProfileId", "repository_override", "assetInfo")
_METADATA_MODEL = ("shortName", "modelUrl")

Facts = Mapping[str, str]

NAMESPACE = "namespace"
"""The kind of an identity that the operator named: nothing has to be looked at."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A model behind a URL."""

    name: str
    """Canonical text for the cache's key, the same in every process: the namespace as given, the URL alone where the
    server tells nothing, else URL, kind of server and SHA-256 of the facts."""
    server: str = NAMESPACE
    """vllm, sglang, llama.cpp, tgi, nim, transformers, ollama, tensorrt-llm, openai, unknown, or namespace."""
    facts: Facts = field(default_factory=dict)
    """What the name was made of, by `route.field`; never a credential."""


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """What one probe told."""

    server: str = "unknown"
    """Kind of server, in lower case; `unknown` where nothing was told, `openai` where only a list of models was."""
    shared: Facts = field(default_factory=dict)
    """What holds for every model, by `route.field`."""
    cards: Mapping[str, Mapping[str, Facts]] = field(default_factory=dict)
    """What holds for one model: by list (`models`, `tags`) and id."""
    instance: Facts = field(default_factory=dict)
    """Those of `SIGNS` that it told."""
    paths: tuple[bytes, ...] = ()
    """The routes that these facts came from; where two tell the same, the first."""

    def of(self, model: str | None) -> dict[str, str]:
        """Return all facts about the model that `model` means, without the sign of the instance.

        A name that a list does not have may mean any of its models, so it has the facts of all of them.
        """
        facts = dict(self.shared)
        for listing, cards in self.cards.items():
            for name in _meant(model, cards):
                facts |= {f"{listing}[{name}].{key}": value for key, value in cards[name].items()}
        return facts


def read(answers: Mapping[bytes, bytes]) -> ServerFacts:
    """Return the facts in `answers`: bodies of answers with status 200, by route (one of `PATHS`).

    What is not JSON, or not of the expected shape, tells nothing.
    """
    found = _Found()
    for path, reader in _READERS.items():
        body = answers.get(path)
        if body is None or reader in found.readers:
            continue
        known = found.count()
        reader(body if path in METRICS else _parsed(body), found)
        if found.count() > known:
            found.paths.append(path)
            found.readers.add(reader)
    return ServerFacts(_kind(found), found.shared, found.cards, found.instance, tuple(found.paths))


def start_time(metrics: bytes) -> str | None:
    """Return the process's start time in (the beginning of) a Prometheus text, None where it is not (yet) there."""
    match = _START_LINE.search(metrics)
    return match[1].decode("latin-1") if match else None


def digest(facts: Facts) -> str:
    """Return the SHA-256 of facts, equal for equal ones in any order."""
    return hashlib.sha256(orjson.dumps(dict(facts), option=orjson.OPT_SORT_KEYS)).hexdigest()


def answered_text(body: bytes) -> str | None:
    """Return what a model said in a plain chat or text completion, None where it said nothing."""
    match _parsed(body):
        case {"choices": [{"message": {**message}}, *_]}:
            said = [message.get(name) for name in ("content", "reasoning_content", "reasoning")]
        case {"choices": [{"text": text}, *_]}:
            said = [text]
        case _:
            said = []
    return next((text for text in said if isinstance(text, str) and text), None)


class _Found:
    """What the readers have found so far."""

    def __init__(self) -> None:
        self.shared: dict[str, str] = {}
        self.cards: dict[str, dict[str, Facts]] = {}
        self.instance: dict[str, str] = {}
        self.paths: list[bytes] = []
        self.readers: set[_Reader] = set()
        self.is_transformers = False

    def count(self) -> int:
        """How much it is; grows with every fact."""
        return len(self.shared) + len(self.instance) + sum(map(len, self.cards.values()))

    def share(self, route: str, source: Any, names: Iterable[str]) -> None:
        self.shared |= {f"{route}.{key}": value for key, value in _pick(source, names).items()}


_Reader = Callable[[Any, _Found], None]


def _models(document: Any, found: _Found) -> None:
    match document:
        case {"data": [*entries]}:
            found.cards["models"] = {
                entry["id"]: _pick(entry, _CARD) | _pick(entry.get("meta"), _CARD_META)
                for entry in entries
                if isinstance(entry, dict) and isinstance(entry.get("id"), str)
            }
            found.is_transformers = any(_is_loaded_folder(entry) for entry in entries)


def _is_loaded_folder(entry: Any) -> bool:
    """`transformers serve` started with a folder says so in these words, and whether the model is loaded."""
    match entry:
        case {"owned_by": "local", "status": {"value": str()}}:
            return True
    return False


def _tags(document: Any, found: _Found) -> None:
    match document:
        case {"models": [*entries]}:
            found.cards["tags"] = {
                entry["name"]: _pick(entry, ("digest",))
                for entry in entries
                if isinstance(entry, dict) and isinstance(entry.get("name"), str)
            }


def _props(document: Any, found: _Found) -> None:
    found.share("props", document, _PROPS)
    match document:
        case {"default_generation_settings": {**settings}}:
            found.share("props", settings, ("n_ctx",))
            found.share("props.params", settings.get("params"), _PROPS_PARAMS)


def _lora_adapters(document: Any, found: _Found) -> None:
    if isinstance(document, list):  # an empty one counts: that the server has none is a fact too
        found.shared["lora_adapters"] = _text([_pick(entry, _LORA) for entry in document])


def _version(document: Any, found: _Found) -> None:
    found.share("version", document, ("version",))


def _ollama_version(document: Any, found: _Found) -> None:
    found.share("api_version", document, ("version",))


def _model_info(document: Any, found: _Found) -> None:
    found.share("model_info", document, _MODEL_INFO)


def _server_info(document: Any, found: _Found) -> None:
    found.share("server_info", document, _SERVER_INFO)
    match document:
        case {"random_seed": int(seed)}:
            found.instance[_RANDOM_SEED] = str(seed)


def _info(document: Any, found: _Found) -> None:
    found.share("info", document, _INFO)


def _nim_metadata(document: Any, found: _Found) -> None:
    found.share("metadata", document, _METADATA)
    match document:
        case {"modelInfo": [*entries]}:
            found.shared["metadata.modelInfo"] = _text([_pick(entry, _METADATA_MODEL) for entry in entries])


def _nim_version(document: Any, found: _Found) -> None:
    found.share("nim_version", document, ("release", "api"))


def _metrics(body: bytes, found: _Found) -> None:
    started = start_time(body)
    if started is not None:
        found.instance[_START_TIME] = started


_READERS: Mapping[bytes, _Reader] = {
    MODELS: _models,
    b"/version": _version,
    b"/metrics": _metrics,
    b"/v1/metrics": _metrics,
    b"/props": _props,
    b"/lora-adapters": _lora_adapters,
    b"/model_info": _model_info,
    b"/get_model_info": _model_info,
    b"/server_info": _server_info,
    b"/get_server_info": _server_info,
    b"/info": _info,
    b"/v1/metadata": _nim_metadata,
    b"/v1/version": _nim_version,
    b"/api/version": _ollama_version,
    b"/api/tags": _tags,
}

PATHS = tuple(_READERS)
"""Every route that some server tells about itself on, as clients write it."""

_OWNERS = {"vllm": "vllm", "sglang": "sglang", "llamacpp": "llama.cpp", "tensorrt_llm": "tensorrt-llm"}


def _kind(found: _Found) -> str:
    cards = found.cards.get("models", {})
    owners = {card.get("owned_by", "") for card in cards.values()}
    known = [_OWNERS[owner] for owner in _OWNERS if owner in owners]
    checks = (
        ("nim", b"/v1/metadata" in found.paths or b"/v1/version" in found.paths),
        ("llama.cpp", "props.build_info" in found.shared),
        ("tgi", "info.model_id" in found.shared),
        (known[0] if known else "", bool(known)),
        ("sglang", "model_info.model_path" in found.shared),
        ("ollama", b"/api/tags" in found.paths or b"/api/version" in found.paths),
        ("transformers", found.is_transformers),
        ("transformers", bool(cards) and all(_of_its_owner(name, card) for name, card in cards.items())),
        ("openai", bool(cards)),
    )
    return next((kind for kind, so in checks if so), "unknown")


def _of_its_owner(name: str, card: Facts) -> bool:
    """`transformers serve` lists the repositories of its cache, each owned by the first part of its name."""
    return "owned_by" in card and name.startswith(card["owned_by"] + "/")


def _meant(model: str | None, cards: Mapping[str, Facts]) -> list[str]:
    names = () if model is None else (model, f"{model}:latest")  # `latest` is Ollama's tag for names without one
    name = next((name for name in names if name in cards), None)
    if name is None:
        return list(cards)
    parent = cards[name].get("parent", "")  # an adapter answers with its base model's weights
    return [name, parent] if parent in cards else [name]


def _pick(source: Any, names: Iterable[str]) -> dict[str, str]:
    if not isinstance(source, dict):
        return {}
    return {name: _text(source[name]) for name in names if source.get(name) is not None}


@lru_cache(maxsize=1024)
def is_credential(name: bytes) -> bool:
    """Return whether a header, its name in lower case, says who asks: behind a gateway it may decide who answers.

    Every gateway has a name of its own for its key (`x-goog-api-key`, `ocp-apim-subscription-key`, `helicone-auth`).
    """
    return name in _ACCOUNTS or (_KEY_NAME.search(name) is not None and _OF_ONE_REQUEST.search(name) is None)


def credentials(headers: Headers) -> Headers:
    """Return the fields, names in lower case, that say who asks."""
    return [item for item in headers if is_credential(item[0])]


def _text(value: Any) -> str:
    """A value as text: long ones and addresses that could carry credentials only as their hash."""
    text = value if isinstance(value, str) else orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()
    address = "://" in text and ("@" in text or "?" in text)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest() if address or len(text) > _LONGEST else text


def _parsed(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
