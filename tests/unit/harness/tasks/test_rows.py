import sys
from types import SimpleNamespace

import pytest

from harness.errors import ConfigurationError
from harness.tasks.rows import read_rows


def test_json_lines_and_csv_give_rows_with_a_checksum(lines, tmp_path):
    one = read_rows(lines(tmp_path / "a.jsonl", [{"q": 1}, {"q": 2}]))
    (tmp_path / "b.csv").write_text('\ufeffq,a\n"x, y",1\nz,2\n', encoding="utf-8")
    two = read_rows(tmp_path / "b.csv")
    assert one.rows == [{"q": 1}, {"q": 2}]
    assert two.rows == [{"q": "x, y", "a": "1"}, {"q": "z", "a": "2"}]
    assert (two.facts.origin, two.facts.rows, len(two.facts.sha256)) == (str(tmp_path / "b.csv"), 2, 64)
    assert one.facts.sha256 != two.facts.sha256


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", b"[]", r"'.*a.json' is none of the kinds that can be read: \.jsonl, \.csv, \.parquet"),
        ("a.jsonl", b"\n", "a.jsonl has no rows"),
        ("a.csv", b"q,a\n1\n", "a.csv, row 2: not as many cells"),
        ("a.csv", b"q,a\n1,2,3\n", "a.csv, row 2: not as many cells"),
        ("a.csv", b'q,a\n"1,2\n', "a.csv, line 1: unexpected end of data"),
        ("a.csv", b"q\n\xff\n", "a.csv is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(name, content, message, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=message):
        read_rows(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none.csv cannot be read: No such file"):
        read_rows(tmp_path / "none.csv")


@pytest.fixture
def parquet(monkeypatch, tmp_path):
    """A stand-in for the reader; a file for it."""

    def install(read_table):
        monkeypatch.setitem(sys.modules, "pyarrow", SimpleNamespace())
        monkeypatch.setitem(sys.modules, "pyarrow.parquet", SimpleNamespace(read_table=read_table))

    path = tmp_path / "a.parquet"
    path.write_bytes(b"PAR1 some rows")
    return SimpleNamespace(path=path, install=install)


def test_parquet_is_read_by_its_reader(parquet):
    parquet.install(lambda file: SimpleNamespace(to_pylist=lambda: [{"read": file.read().decode()}]))
    assert read_rows(parquet.path).rows == [{"read": "PAR1 some rows"}]


def test_a_parquet_file_that_is_none_says_so(parquet):
    def fail(_):
        raise OSError("magic bytes not found")

    parquet.install(fail)
    with pytest.raises(ConfigurationError, match=r"a.parquet is no Parquet file that can be read: magic bytes"):
        read_rows(parquet.path)


def test_without_the_reader_the_message_says_what_to_install(parquet, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'evalside\[tasks\]'.* or convert it"):
        read_rows(parquet.path)
