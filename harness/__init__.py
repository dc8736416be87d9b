"""Runs benchmarks through the sidecar. Importing this package reads and writes nothing."""

from harness.api import ApiEndpoint, ConfigParams, EndpointType, EvaluationConfig, EvaluationTarget
from harness.evaluate import evaluate

__all__ = ["ApiEndpoint", "ConfigParams", "EndpointType", "EvaluationConfig", "EvaluationTarget", "evaluate"]
