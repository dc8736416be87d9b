"""How many tokens a model has room for, as its server tells."""

from __future__ import annotations

from collections.abc import Mapping

_NAMES = ("max_model_len", "n_ctx", "context_length", "max_total_tokens")
"""Of vLLM's model cards, llama.cpp's cards and /props, SGLang's /server_info and text-generation-inference's /info."""


def context_length(facts: Mapping[str, str]) -> int | None:
    """Return the tokens of prompt and answer together; the smallest number where several are told, None for none."""
    told = [
        int(value)
        for name, value in facts.items()
        if name.rpartition(".")[2] in _NAMES and value.isdecimal() and int(value) > 0
    ]
    return min(told, default=None)
