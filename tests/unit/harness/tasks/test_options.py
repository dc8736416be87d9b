import pytest

from harness.errors import ConfigurationError
from harness.strict import StrictModel
from harness.tasks.options import options


class Some(StrictModel):
    shots: int = 5


class Nothing(StrictModel):
    pass


def test_options_are_checked_and_have_their_defaults():
    assert options(Some, "t", {"shots": 3}).shots == 3
    assert options(Some, "t", {}).shots == 5
    assert options(Nothing, "t", {}) == Nothing()


@pytest.mark.parametrize(
    ("model", "extra", "message"),
    [
        (Some, {"shot": 3}, "params.extra of task 't': unknown field 'shot' of Some; did you mean 'shots'"),
        (Some, {"shots": "x"}, r"params.extra of task 't': shots: .* \(got 'x'\)"),
        (Nothing, {"b": 1, "a": 2}, "task 't' takes no params.extra, but there is: a, b"),
    ],
)
def test_wrong_ones_are_named(model, extra, message):
    with pytest.raises(ConfigurationError, match=message):
        options(model, "t", extra)
