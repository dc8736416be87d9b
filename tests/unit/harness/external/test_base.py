from pathlib import Path

import pytest

from harness.api import ConfigParams
from harness.errors import ConfigurationError
from harness.external.base import Call, beside_data, metric, refuse_params, sample_row
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
    assert (found.argv, found.cwd, found.env["A"], found.env["HF_HUB_OFFLINE"]) == (("x",), Path("sets"), "1", "1")
    assert found.env["HF_DATASETS_CACHE"].startswith(str(tmp_path))


def test_parallelism_has_a_default(tmp_path):
    assert make_ask(tmp_path, "t").parallelism == 4
    assert make_ask(tmp_path, "t", parallelism=9).parallelism == 9
