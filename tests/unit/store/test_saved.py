import pytest

from proxy.store.saved import ALL, Saved


@pytest.mark.parametrize(
    ("saved", "requests", "responses"),
    [
        (ALL, [True, True, True], [True, True, True]),
        (Saved(0, 1), [False, False, False], [True, False, False]),
        (Saved(2, None), [True, True, False], [True, True, True]),
    ],
)
def test_the_first_so_many_are_held(saved: Saved, requests: list[bool], responses: list[bool]) -> None:
    assert [saved.request(number) for number in range(3)] == requests
    assert [saved.response(number) for number in range(3)] == responses
