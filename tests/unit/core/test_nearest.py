import pytest

from proxy.core.nearest import did_you_mean


@pytest.mark.parametrize(
    ("name", "valid", "said"),
    [
        ("cahce", ["caching", "cache"], "; did you mean 'cache'?"),
        ("cahce", ["caching", "damping"], "; did you mean 'caching'?"),
        ("zzz", ["beta", "alpha"], "; valid: alpha, beta"),
        ("zzz", [], ""),
    ],
)
def test_the_nearest_name_else_all_of_them(name, valid, said):
    assert did_you_mean(name, valid) == said
