from pathlib import Path

import pytest

from harness.api import ConfigParams
from harness.errors import ConfigurationError
from harness.external.base import Call, beside_data, flag, metric, refuse_params, sample_row, table, whole
from harness.external.drivers import DRIVERS
from tests.unit.harness.external.asking import make_ask


def test_a_row_has_every_field_and_null_for_what_is_not_told():
    row = sample_row("a", "acc", {"acc": 1.0, "f1": 0.5}, generation="g")
    assert (row["id"], row["score"], row["scores"], row["generation"]) == ("a", 1.0, {"acc": 1.0, "f1": 0.5}, "g")
    assert (row["answer"], row["error"], row["query"]) == (None, None, "")


def test_a_metric_has_one_score_of_its_name():
    assert metric("acc", 0.5, 0.1, 4).scores["acc"].stats.count == 4


def test_a_parameter_that_cannot_be_told_is_refused():
    refuse_params("x", ConfigParams(), ("top_p",))
    with pytest.raises(ConfigurationError, match="x cannot be told top_p"):
        refuse_params("x", ConfigParams(top_p=0.5), ("top_p",))


def test_data_of_the_users_are_read_where_they_are_and_without_the_hub(tmp_path):
    call = Call(("x",), {"A": "1"})
    assert beside_data(call, make_ask(tmp_path, "t")) == call
    found = beside_data(call, make_ask(tmp_path, "t", options={"data_dir": "sets"}))
    assert (found.argv, found.cwd, found.env["A"], found.env["HF_HUB_OFFLINE"]) == (
        ("x",),
        Path("sets").resolve(),
        "1",
        "1",
    )
    assert found.env["HF_DATASETS_CACHE"].startswith(str(tmp_path))


def test_options_are_of_their_kind():
    options = {"n": 3, "zero": 0, "yes": True, "map": {"a": 1}, "none": None}
    assert (whole(options, "n"), whole(options, "zero", least=0), whole(options, "missing")) == (3, 0, None)
    assert (flag(options, "yes"), flag(options, "missing"), flag(options, "none")) == (True, False, False)
    assert (table(options, "map"), table(options, "none")) == ({"a": 1}, {})


@pytest.mark.parametrize(
    ("read", "value", "said"),
    [
        (whole, 0, "x is 0; it takes a whole number, 1 or more"),
        (whole, True, "whole number"),
        (whole, "3", "x is '3'"),
        (flag, "false", "x is 'false'; it takes true or false"),
        (table, "a=1", "x is 'a=1'; it takes a map"),
    ],
)
def test_options_of_another_kind_are_refused(read, value, said):
    with pytest.raises(ConfigurationError, match=said):
        read({"x": value}, "x")


@pytest.mark.parametrize(("given", "limit"), [(None, None), (1, 1), (0.5, 0.5), (1.0, None)])
def test_a_share_of_all_is_no_limit(tmp_path, given, limit):
    assert make_ask(tmp_path, "t", limit_samples=given).limit == limit


@pytest.mark.parametrize("name", ["lm-eval", "evalscope", "bfcl", "simple-evals"])
def test_no_harness_takes_a_share_of_all_for_one_sample(tmp_path, name):
    [call, *_] = DRIVERS[name].calls(make_ask(tmp_path, "t", limit_samples=1.0))
    assert not {"--limit", "--first_n"} & set(call.argv)


def test_parallelism_has_a_default(tmp_path):
    assert make_ask(tmp_path, "t").parallelism == 4
    assert make_ask(tmp_path, "t", parallelism=9).parallelism == 9
