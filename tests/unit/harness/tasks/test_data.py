import hashlib
import json
import sys
from types import SimpleNamespace

import pytest

from harness.errors import ConfigurationError
from harness.tasks.data import VARIABLE, DataSet, digest_of, json_lines

SET = DataSet("who/what", "main", "abc123", "MIT", frozenset({"q"}), known={})


@pytest.fixture(autouse=True)
def no_variable(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def loader(monkeypatch):
    """A stand-in for the package `datasets`: what it was asked for, and rows to give."""
    seen = SimpleNamespace(calls=[], rows=[{"q": "a"}, {"q": "b"}])

    def load_dataset(*args, **kwargs):
        seen.calls.append((args, kwargs))
        if isinstance(seen.rows, Exception):
            raise seen.rows
        return iter(seen.rows)

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    return seen


def test_a_local_file_is_read_with_its_checksum(lines, tmp_path):
    path = lines(tmp_path / "who" / "what" / "test.jsonl", [{"q": "a"}, {"q": "b"}])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rows, facts = SET.split("test", tmp_path)
    assert rows == [{"q": "a"}, {"q": "b"}]
    assert (facts.dataset, facts.split, facts.origin, facts.rows) == ("who/what", "test", str(path), 2)
    assert (facts.sha256, facts.revision) == (digest, None)
    known = DataSet("who/what", "main", "abc123", "MIT", frozenset(), known={digest: "v1"})
    assert known.split("test", tmp_path).facts.revision == "v1"


def test_the_option_wins_over_the_variable(lines, tmp_path, monkeypatch):
    lines(tmp_path / "one" / "who" / "what" / "test.jsonl", [{"q": "option"}])
    lines(tmp_path / "two" / "who" / "what" / "test.jsonl", [{"q": "variable"}])
    monkeypatch.setenv(VARIABLE, str(tmp_path / "two"))
    assert SET.split("test", tmp_path / "one").rows == [{"q": "option"}]
    assert SET.split("test", None).rows == [{"q": "variable"}]


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(ConfigurationError, match=rf"{tmp_path}/who/what/test.jsonl: No such file .*{VARIABLE}"):
        SET.split("test", tmp_path)


def test_another_set_of_that_name_is_refused(lines, tmp_path):
    lines(tmp_path / "who" / "what" / "test.jsonl", [{"q": 1}, {"other": 1}])
    with pytest.raises(ConfigurationError, match="is not who/what: row 1 has no q"):
        SET.split("test", tmp_path)


@pytest.mark.parametrize(
    ("content", "message"), [(b'{"a": 1}\n{', "line 2: not JSON"), (b"\n[1]", "line 2: a list, not an object")]
)
def test_a_broken_line_is_named(content, message, tmp_path):
    with pytest.raises(ConfigurationError, match=message):
        list(json_lines(content, tmp_path / "x.jsonl"))


def test_line_separators_within_a_text_do_not_end_a_line(tmp_path):
    row = {"q": "a\u2028b\x85c"}
    content = json.dumps(row, ensure_ascii=False).encode() + b"\r\n\n"
    assert list(json_lines(content, tmp_path)) == [row]


def test_without_a_folder_the_hub_is_asked_for_the_pinned_revision(loader):
    rows, facts = SET.split("test", None)
    assert loader.calls == [(("who/what", "main"), {"split": "test", "revision": "abc123"})]
    assert rows == loader.rows
    assert (facts.origin, facts.revision, facts.rows, facts.sha256) == ("hub", "abc123", 2, digest_of(rows))


def test_a_hub_that_fails_says_why_and_what_else_can_be_done(loader):
    loader.rows = ConnectionError("offline")
    with pytest.raises(ConfigurationError, match=rf"abc123\) could not be loaded: .*offline\nWithout .*{VARIABLE}"):
        SET.split("test", None)


def test_without_the_loader_the_message_says_what_to_install_or_set(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ConfigurationError, match=rf"pip install 'evalside\[tasks\]'.*who/what/test.jsonl.*{VARIABLE}"):
        SET.split("test", None)


def test_the_digest_of_rows_does_not_depend_on_the_order_of_columns():
    assert digest_of([{"a": 1, "b": "ä"}]) == digest_of([{"b": "ä", "a": 1}])
    assert digest_of([{"a": 1}, {"a": 2}]) != digest_of([{"a": 2}, {"a": 1}])
