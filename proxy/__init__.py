"""Evalside: a sidecar proxy between LLM benchmark harnesses and OpenAI-compatible model servers."""
