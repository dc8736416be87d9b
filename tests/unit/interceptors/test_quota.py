import pytest

from proxy.interceptors.quota import Quota


@pytest.mark.parametrize(
    ("limit", "granted"),
    [(0, [False] * 4), (1, [True, False, False, False]), (3, [True, True, True, False]), (None, [True] * 4)],
)
def test_as_many_are_granted_as_the_limit_says(limit, granted):
    quota = Quota(limit)
    assert [quota.take() for _ in range(4)] == granted
