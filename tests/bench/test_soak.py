import pytest

from tests.bench import servers
from tests.bench.soak import SAMPLES, Look, Soak, soak, verdicts
from tests.bench.usage import Usage


def run(latencies=(5.0,) * 30):
    running = Soak("http://x", 1, 1, 0)
    running.latencies = list(enumerate(latencies))
    return running


def looks(memory=None, descriptors=None):
    memory, descriptors = memory or [100] * (SAMPLES + 2), descriptors or [20] * (SAMPLES + 2)
    return [Look(at, Usage(0, *use)) for at, use in enumerate(zip(memory, descriptors, strict=True))]


def test_what_is_flat_is_passed():
    assert verdicts(run(), looks()) == []


def test_memory_may_grow_while_it_warms_up_and_not_after():
    assert verdicts(run(), looks(memory=[100, *[300] * (SAMPLES + 1)])) == []
    [line] = verdicts(run(), looks(memory=[100] * SAMPLES + [150, 150]))
    assert "memory grew from 100 MB to 150 MB" in line


def test_descriptors_have_to_be_given_back():
    assert verdicts(run(), looks(descriptors=[20, *[500] * SAMPLES, 25])) == []
    [line] = verdicts(run(), looks(descriptors=[20] * (SAMPLES + 1) + [60]))
    assert "there are 60" in line


def test_latency_may_not_drift():
    [line] = verdicts(run([1.0] * 20 + [10.0] * 10), looks())
    assert "10.0 ms in the last" in line


def test_a_wrong_answer_is_told():
    running = run()
    running.wrong["new: 500"] = 2
    assert verdicts(running, looks()) == ["2 times new: 500"]


@pytest.mark.fault
async def test_clients_get_what_they_ask_for_whatever_the_others_do(tmp_path):
    with servers.upstream() as upstream, servers.sidecar("soaked", upstream.url, tmp_path / "s") as server:
        running, seen = await soak(server, seconds=4, connections=10, rate=60)
    assert running.wrong == {}
    assert sum(running.done.values()) > 20
    assert len(seen) == SAMPLES + 2
