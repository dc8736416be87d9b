"""Evalside: a sidecar proxy between LLM benchmark harnesses and OpenAI-compatible model servers."""

__version__ = "0.1.0"
