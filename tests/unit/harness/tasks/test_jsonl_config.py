import pytest
from pydantic import ValidationError

from harness.api import EndpointType
from harness.tasks.jsonl_config import BenchmarkConfig


def test_a_grading_may_be_a_bare_name_and_its_type_is_exact_if_not_said():
    assert BenchmarkConfig(data="d", prompt="p", grading="numeric").grading.type == "numeric"
    assert BenchmarkConfig(data="d", prompt="p", grading={"ignore_case": False}).grading.type == "exact"
    assert BenchmarkConfig(data="d", prompt="p").grading.type == "exact"


def test_the_endpoints_are_those_given_or_all_that_can_be_asked():
    assert BenchmarkConfig(data="d", prompt="p").kinds() == {EndpointType.CHAT, EndpointType.COMPLETIONS}
    assert BenchmarkConfig(data="d", prompt="p", endpoint_types=["chat"]).kinds() == {EndpointType.CHAT}


def test_a_grading_that_is_no_mapping_is_refused():
    with pytest.raises(ValidationError, match="grading"):
        BenchmarkConfig(data="d", prompt="p", grading=5)


def test_a_judge_needs_scores_from_0_to_1():
    judge = {"type": "llm_judge", "prompt": "p"}
    with pytest.raises(ValidationError, match="less than or equal to 1"):
        BenchmarkConfig(data="d", prompt="p", grading={**judge, "scores": {"good": 2}})
    with pytest.raises(ValidationError, match="at least 1 item"):
        BenchmarkConfig(data="d", prompt="p", grading={**judge, "scores": {}})
