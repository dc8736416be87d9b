"""The upstream of the benchmarks, in a process of its own: `python -m tests.bench.upstream` prints its URL."""

import signal

from proxy.testing import ModelServer, Reply

ANSWER = {
    "id": "chatcmpl-bench",
    "object": "chat.completion",
    "created": 0,
    "model": "mock-model",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * 700}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 10, "completion_tokens": 100, "total_tokens": 110},
}


def main() -> None:
    with ModelServer(record=False) as server:
        server.on("/v1/chat/completions", Reply(json=ANSWER))
        print(server.url, flush=True)
        signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
    main()
