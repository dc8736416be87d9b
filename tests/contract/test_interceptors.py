import sys
from typing import ClassVar

import pytest

from proxy.core.http import Exchange
from proxy.interceptors import (
    caching,
    chat_to_completions,
    completions_to_chat,
    consolidate_system,
    damping,
    drop_params,
    endpoint,
    finish_reason,
    http_pairs_dump,
    limit,
    log_tokens,
    logging,
    modify_tools,
    normalize,
    payload_modifier,
    progress_tracking,
    raise_client_errors,
    reasoning,
    reasoning_replay,
    request_logging,
    response_logging,
    response_stats,
    responses_to_chat,
    retry,
    streaming,
    system_message,
    turn_counter,
)
from proxy.plugins import BUILT_IN, find_plugin
from proxy.testing.contracts import InterceptorContract


class TestCaching(InterceptorContract):
    plugin = caching.PLUGIN
    observer = True


class TestEndpoint(InterceptorContract):
    plugin = endpoint.PLUGIN
    observer = True  # without a default model or aliases


class TestConsolidateSystem(InterceptorContract):
    plugin = consolidate_system.PLUGIN
    observer = True  # where there is nothing to join


class TestDamping(InterceptorContract):
    plugin = damping.PLUGIN
    observer = True


class TestDropParams(InterceptorContract):
    plugin = drop_params.PLUGIN
    options: ClassVar = {"params": ["model"]}


class TestFinishReason(InterceptorContract):
    plugin = finish_reason.PLUGIN
    observer = True  # without a limit


class TestLogging(InterceptorContract):
    plugin = logging.PLUGIN
    observer = True


class TestModifyTools(InterceptorContract):
    plugin = modify_tools.PLUGIN
    observer = True  # without tools


class TestNormalize(InterceptorContract):
    plugin = normalize.PLUGIN
    options: ClassVar = {"dialect": "vllm"}
    observer = True  # where the server takes what is asked


class TestNormalizeAtWork(InterceptorContract):
    plugin = normalize.PLUGIN
    options: ClassVar = {"dialect": "llama.cpp", "on_unsupported": "learn", "fill_null_content": True}


class TestReasoning(InterceptorContract):
    plugin = reasoning.PLUGIN


class TestStreaming(InterceptorContract):
    plugin = streaming.PLUGIN


class TestLimit(InterceptorContract):
    plugin = limit.PLUGIN
    options: ClassVar = {"max_concurrent": 1}
    observer = True


class TestLogTokens(InterceptorContract):
    plugin = log_tokens.PLUGIN
    observer = True


class TestRaiseClientErrors(InterceptorContract):
    plugin = raise_client_errors.PLUGIN
    observer = True


class TestReasoningReplay(InterceptorContract):
    plugin = reasoning_replay.PLUGIN
    observer = True  # what nobody remembers


class TestResponseStats(InterceptorContract):
    plugin = response_stats.PLUGIN
    observer = True


class TestRetry(InterceptorContract):
    plugin = retry.PLUGIN
    options: ClassVar = {"max_wait": 0.01}
    observer = True


class TestTurnCounter(InterceptorContract):
    plugin = turn_counter.PLUGIN
    observer = True  # without a limit


class TestHttpPairsDump(InterceptorContract):
    plugin = http_pairs_dump.PLUGIN
    observer = True

    @pytest.fixture(autouse=True)
    def dump_to_a_folder(self, tmp_path, monkeypatch) -> None:
        monkeypatch.setattr(type(self), "options", {"dump_path": str(tmp_path / "pairs.json")})


class TestProgressTracking(InterceptorContract):
    plugin = progress_tracking.PLUGIN
    options: ClassVar = {"progress_tracking_url": "http://127.0.0.1:1/"}
    observer = True


class TestPayloadModifier(InterceptorContract):
    plugin = payload_modifier.PLUGIN
    observer = True  # without options


class TestPayloadModifierAtWork(InterceptorContract):
    plugin = payload_modifier.PLUGIN
    options: ClassVar = {"params_to_add": {"seed": 1}}


class TestResponsesToChat(InterceptorContract):
    plugin = responses_to_chat.PLUGIN
    request = b'{"model": "m", "input": "hi", "temperature": 0, "stream": true}'
    route = "responses"

    def exchange(self) -> Exchange:
        made = super().exchange()
        made.id = "1"  # the answers have none, so that this one is in them
        return made


class TestCompletionsToChat(InterceptorContract):
    plugin = completions_to_chat.PLUGIN
    options: ClassVar = {"user_template": "{{ prompt }}"}
    request = b'{"model": "m", "prompt": "hi", "temperature": 0, "stream": true}'
    route = "completions"


class TestChatToCompletions(InterceptorContract):
    plugin = chat_to_completions.PLUGIN
    options: ClassVar = {"chat_template": "{{ messages }}", "default_max_tokens": 9}

    @pytest.fixture(autouse=True)
    def a_completion_is_behind_it(self, monkeypatch) -> None:
        suite = sys.modules[InterceptorContract.__module__]
        choice = b'{"choices":[{"index":0,"text":"hi","finish_reason":"stop"}]}'
        monkeypatch.setattr(suite, "EVENTS", b"data: " + choice + b"\n\ndata: [DONE]\n\n")
        monkeypatch.setattr(suite, "ANSWER", choice, raising=False)


class TestRequestLogging(InterceptorContract):
    plugin = request_logging.PLUGIN
    observer = True


class TestResponseLogging(InterceptorContract):
    plugin = response_logging.PLUGIN
    observer = True


class TestSystemMessage(InterceptorContract):
    plugin = system_message.PLUGIN
    options: ClassVar = {"system_message": "Be brief."}


def test_every_built_in_interceptor_is_under_contract() -> None:
    tested = {kind.plugin.config for kind in InterceptorContract.__subclasses__()}
    assert tested == {find_plugin(name).config for name in BUILT_IN}
