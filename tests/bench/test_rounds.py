import io

import pytest

from tests.bench import gates, load, peers, rounds, servers, usage, workloads
from tests.bench.load import Load
from tests.bench.progress import Progress
from tests.bench.rounds import Rounds
from tests.bench.servers import Server

DIRECT, DEFAULT = Server(servers.DIRECT, "http://direct", 1), Server(servers.DEFAULT, "http://default", 2)
LITELLM = Server(peers.LITELLM, "http://litellm", 3)


@pytest.fixture
def asked(monkeypatch):
    """What wrk would have been asked to do, in order."""
    calls = []

    def run(url, folder, workload, *, salt, seconds):
        calls.append((url, workload, seconds))
        return Load(100.0, 2.0, 10)

    monkeypatch.setattr(load, "run", run)
    monkeypatch.setattr(usage, "settle", lambda pid: None)
    monkeypatch.setattr(usage, "of", lambda pid: usage.Usage(1.0, 10.0, 5))
    return calls


def made(tmp_path, count=3):
    return Rounds(tmp_path, count, 2, Progress(10, io.StringIO()))


def test_every_round_has_every_server_and_another_order(asked, tmp_path):
    running = made(tmp_path)
    running.compare(workloads.UNIQUE, [DIRECT, DEFAULT])
    urls = [url.removeprefix("http://") for url, _, _ in asked]
    assert urls == ["default", "direct", "direct", "default", "default", "direct", "direct", "default"]
    values = running.complete()[workloads.UNIQUE.name]
    assert values["per_second"] == {servers.DIRECT: [100.0] * 3, servers.DEFAULT: [100.0] * 3}  # not the warm-up
    assert [seconds for _, _, seconds in asked] == [1, 1, 2, 2, 2, 2, 2, 2]


def test_what_the_upstreams_delay_allows_is_noted(asked, tmp_path):
    running = made(tmp_path)
    running.compare(workloads.DELAY_256, [DIRECT])
    assert running.complete()[workloads.DELAY_256.name]["per_second"][gates.IDEAL] == [5120.0] * 3


def test_a_server_whose_answers_say_nothing_is_left_out_and_told(monkeypatch, asked, tmp_path):
    told, given = load.run, []

    def run(url, *rest, **options):
        given.append(url)
        if url == DEFAULT.url and given.count(url) == 3:  # in its second round that counts
            raise load.Void("answers were errors")
        return told(url, *rest, **options)

    monkeypatch.setattr(load, "run", run)
    running = made(tmp_path)
    running.compare(workloads.UNIQUE, [DIRECT, DEFAULT])
    assert running.complete()[workloads.UNIQUE.name]["per_second"] == {servers.DIRECT: [100.0] * 3}
    assert running.void == ["unique requests, default pipeline: answers were errors"]
    assert given.count(DEFAULT.url) == 3


def test_a_round_that_was_broken_off_is_not_reported(monkeypatch, asked, tmp_path):
    told, given = load.run, []

    def run(*rest, **options):
        given.append(rest)
        if len(given) == 6:  # two of the warm-up, two of the first round, the second of the next
            raise KeyboardInterrupt
        return told(*rest, **options)

    monkeypatch.setattr(load, "run", run)
    running = made(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        running.compare(workloads.UNIQUE, [DIRECT, DEFAULT])
    values = running.complete()[workloads.UNIQUE.name]["per_second"]
    assert values == {servers.DIRECT: [100.0], servers.DEFAULT: [100.0]}


def test_a_peer_is_measured_with_what_its_gates_are_about(asked, tmp_path):
    running = made(tmp_path, count=1)
    for workload in workloads.WORKLOADS:
        running.compare(workload, [DIRECT, LITELLM])
    ours = [(workload.name, workload.connections, seconds) for url, workload, seconds in asked if url == LITELLM.url]
    unique, burst = "unique requests", "streams of 200 chunks"
    assert ours == [(unique, 32, 1), (unique, 32, 2), (burst, 4, 1), (burst, 4, 6)]


def test_many_connections_are_measured_for_longer():
    assert rounds.length(workloads.DELAY_1000, 2) == 5
    assert rounds.length(workloads.UNIQUE, 2) == 2


def test_what_a_round_takes_is_planned_by_who_takes_part():
    alone = rounds.planned(workloads.BURST, [servers.DIRECT], 2)
    assert rounds.planned(workloads.BURST, [servers.DIRECT, peers.NEMO], 2) == alone
    assert rounds.planned(workloads.BURST, [servers.DIRECT, peers.LITELLM], 2) > 3 * alone
    assert rounds.planned(workloads.BURST, [servers.DIRECT], None) < alone
    assert rounds.planned_streams([servers.DIRECT, peers.LITELLM]) == rounds.planned_streams([servers.DIRECT])
