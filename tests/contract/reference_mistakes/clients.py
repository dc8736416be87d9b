"""A client of a sidecar on a real socket, in the few words that the tests of the reference's mistakes need."""

from typing import Any

import httpx

CHAT = "/v1/chat/completions"
COMPLETIONS = "/v1/completions"


def message(content: Any, **fields: Any) -> dict[str, Any]:
    """A chat's answer with one choice."""
    said = {"role": "assistant", "content": content, **fields}
    return {"object": "chat.completion", "choices": [{"index": 0, "message": said, "finish_reason": "stop"}]}


class Client:
    """Asks a sidecar; the deterministic request is the default."""

    def __init__(self, url: str, run: str | None = None) -> None:
        self.url = url if run is None else f"{url}/-/runs/{run}"

    def post(self, path: str = CHAT, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
        asked = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "a"}]}
        if path != CHAT:
            del asked["messages"]
        return httpx.post(self.url + path, json={**asked, **fields}, headers=headers, timeout=30)

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=30)

    def content(self, **fields: Any) -> Any:
        """The text of the first choice."""
        return self.post(**fields).json()["choices"][0]["message"]["content"]
