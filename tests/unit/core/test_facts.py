import pytest

from proxy.core.facts import CacheFacts, CacheOverride, UpstreamFacts


def test_a_cache_fact_needs_only_its_status():
    assert CacheFacts("off") == CacheFacts("off", key=None, sample=None, reason=None)


@pytest.mark.parametrize("fact", [CacheFacts("hit"), CacheOverride("off"), UpstreamFacts(1.0)])
def test_facts_do_not_change(fact):
    with pytest.raises(AttributeError):
        setattr(fact, fact._fields[0], "other")
