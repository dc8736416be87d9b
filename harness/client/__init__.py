"""Clients for notebooks and scripts, over a sidecar that they start and stop."""

from harness.client.answers import Fields, SidecarFacts
from harness.client.asynchronous import AsyncEvalsideClient
from harness.client.synchronous import EvalsideClient

__all__ = ["AsyncEvalsideClient", "EvalsideClient", "Fields", "SidecarFacts"]
