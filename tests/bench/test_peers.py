import stat
import sys

import pytest

from tests.bench import gates, peers
from tests.bench.peers import PEERS, Missing, Peer


def test_every_peer_of_a_gate_takes_part_in_its_workload():
    names = peers.names([peer.name for peer in PEERS])
    compared = [gate for gate in gates.GATES if gate.to in names]
    assert len(compared) == 6
    assert all(peers.takes_part(gate.to, gate.workload) for gate in compared)
    assert {gate.to for gate in compared} == set(names)


@pytest.mark.parametrize("peer", PEERS, ids=[peer.name for peer in PEERS])
def test_what_a_peer_needs_is_pinned(peer):
    assert "--hash=sha256:" in peer.requirements.read_text()


PYTHON = """#!/bin/sh
# Makes environments that hold nothing but itself; its pip installs what is not called absent.
case "$1 $2" in
  "-m venv") mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip") for file; do :; done; ! grep absent "$file" >&2 ;;
esac
"""
OLD = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def program(tmp_path):
    """Writes a program."""

    def write(name, text):
        path = tmp_path / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return str(path)

    return write


@pytest.fixture
def peer(tmp_path, monkeypatch, program):
    monkeypatch.setattr(peers, "ROOT", tmp_path)
    monkeypatch.setattr(peers, "_PYTHONS", ())
    monkeypatch.setattr(sys, "executable", program("python", PYTHON))
    (tmp_path / "requirements").mkdir()
    made = Peer("none")
    made.requirements.write_text("")
    return made


def test_an_environment_is_made_once_and_anew_for_other_requirements(peer):
    python = peers.install(peer)
    assert python.exists()
    mark = peer.environment / "mark"
    mark.touch()
    assert peers.install(peer) == python
    assert mark.exists()
    peer.requirements.write_text("# others\n")
    peers.install(peer)
    assert not mark.exists()


def test_what_cannot_be_installed_is_told_and_tried_again(peer):
    peer.requirements.write_text("absent==1\n")
    with pytest.raises(Missing, match=r"cannot be installed into \.venv-peers-none: absent==1"):
        peers.install(peer)
    with pytest.raises(Missing):
        peers.install(peer)
    peer.requirements.write_text("")
    assert peers.install(peer).exists()


def test_a_python_that_is_too_old_is_passed_over(peer, program, monkeypatch):
    old, good = program("old", OLD), program("good", PYTHON)
    monkeypatch.setattr(sys, "executable", old)
    with pytest.raises(Missing, match="--peers-python"):
        peers.install(peer, [old])
    assert peers.install(peer, [old, "/absent", good]).read_text() == PYTHON
