import stat
from dataclasses import replace

import pytest

from harness.journal import JOURNAL_FILE, Journal, is_begun
from harness.redact import Redactor
from tests.unit.harness.test_results import FAILED, RECORD

NOTHING = Redactor()


@pytest.fixture
def written(tmp_path):
    with Journal(tmp_path, "r1", NOTHING) as journal:
        journal.add(RECORD)
        journal.add(FAILED)
        journal.add(replace(RECORD, id="c"))
    return tmp_path / JOURNAL_FILE


def answered(folder, run="r1"):
    with Journal(folder, run, NOTHING) as journal:
        return [record.id for record in journal.answered]


def test_a_run_that_goes_on_has_what_was_answered_and_no_errors(written, tmp_path):
    assert answered(tmp_path) == ["a", "c"]
    with Journal(tmp_path, "r1", NOTHING) as journal:
        assert journal.answered[0] == RECORD
    assert is_begun(tmp_path)


def test_a_line_that_a_kill_cut_off_does_not_count_and_the_next_is_whole(written, tmp_path):
    written.write_bytes(written.read_bytes()[:-5])
    assert answered(tmp_path) == ["a"]
    with Journal(tmp_path, "r1", NOTHING) as journal:
        journal.add(replace(RECORD, id="d"))
    assert answered(tmp_path) == ["a", "d"]


@pytest.mark.parametrize("cut", [0, 3])
def test_a_file_without_a_whole_heading_is_begun_anew(written, tmp_path, cut):
    written.write_bytes(written.read_bytes()[:cut])
    assert answered(tmp_path) == []
    with Journal(tmp_path, "r1", NOTHING) as journal:
        journal.add(RECORD)
    assert answered(tmp_path) == ["a"]


def test_another_run_does_not_get_them(written, tmp_path):
    assert answered(tmp_path, "r2") == []
    assert answered(tmp_path) == []


def test_the_file_is_private_without_secrets_and_goes_at_the_end(tmp_path):
    with Journal(tmp_path, "r1", Redactor(["sk-0123456789"])) as journal:
        journal.add(replace(RECORD, query="say sk-0123456789"))
    path = tmp_path / JOURNAL_FILE
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "sk-0123456789" not in path.read_text()
    journal.remove()
    assert not is_begun(tmp_path)
