"""Runs benchmarks through the sidecar. Importing this package reads and writes nothing."""

from harness.api import (
    ApiEndpoint,
    ConfigParams,
    EndpointModelConfig,
    EndpointType,
    EvaluationConfig,
    EvaluationResult,
    EvaluationTarget,
    GroupResult,
    JudgeConfig,
    MetricResult,
    Score,
    ScoreStats,
    TaskResult,
)
from harness.client import AsyncEvalsideClient, EvalsideClient
from harness.evaluate import evaluate, evaluate_async

__all__ = [
    "ApiEndpoint",
    "AsyncEvalsideClient",
    "ConfigParams",
    "EndpointModelConfig",
    "EndpointType",
    "EvalsideClient",
    "EvaluationConfig",
    "EvaluationResult",
    "EvaluationTarget",
    "GroupResult",
    "JudgeConfig",
    "MetricResult",
    "Score",
    "ScoreStats",
    "TaskResult",
    "evaluate",
    "evaluate_async",
]
