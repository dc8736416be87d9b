import pytest
from pydantic import ValidationError

from harness.strict import StrictModel, nearest


class Endpoint(StrictModel):
    url: str = ""
    timeout: float = 1.0


@pytest.mark.parametrize(
    ("name", "valid", "said"),
    [
        ("tiemout", ["url", "timeout"], "; did you mean 'timeout'? Valid: timeout, url"),
        ("x", ["url", "timeout"], "; Valid: timeout, url"),
        ("x", [], "; there is none to choose from"),
    ],
)
def test_the_nearest_name_and_all_of_them_end_a_message(name, valid, said):
    assert nearest(name, valid) == said


def test_an_unknown_field_is_an_error_without_its_value():
    with pytest.raises(ValidationError, match=r"unknown field 'tiemout' of Endpoint; did you mean 'timeout'\?") as told:
        Endpoint.model_validate({"tiemout": "sk-secret"})
    assert "sk-secret" not in str(told.value)


@pytest.mark.parametrize("name", Endpoint.model_fields)
def test_a_model_is_frozen(name):
    with pytest.raises(ValidationError, match="frozen"):
        setattr(Endpoint(), name, "other")
