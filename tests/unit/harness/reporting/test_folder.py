import pytest

from harness.errors import ConfigurationError
from harness.reporting.folder import read_folder, task_folders
from tests.unit.harness.reporting.made import folder, row


def test_an_ended_task_is_read_back(tmp_path):
    ended = read_folder(folder(tmp_path, [row(1), row(2)]))
    assert (ended.task, ended.score_name) == ("quiz", "accuracy")
    assert [each["id"] for each in ended.rows] == ["s-001", "s-002"]
    assert ended.report == {}


def test_its_report_is_read_too(tmp_path):
    folder(tmp_path, [row(1)])
    (tmp_path / "report.json").write_text('{"format": 1}')
    assert read_folder(tmp_path).report == {"format": 1}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("results.yml", "a: [", "no YAML"),
        ("results.yml", "results: {}", "no results of a task"),
        ("results.yml", "- 1", "no results of a task"),
        ("samples.jsonl", "{}\n{", "line 2 of"),
        ("report.json", "{", "no JSON"),
    ],
)
def test_a_broken_file_is_named(tmp_path, name, content, said):
    folder(tmp_path, [row(1)])
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigurationError, match=said) as error:
        read_folder(tmp_path)
    assert name in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    folder(tmp_path, [row(1)])
    (tmp_path / "samples.jsonl").unlink()
    with pytest.raises(ConfigurationError, match=r"cannot read .*samples\.jsonl"):
        read_folder(tmp_path)


def test_the_folders_of_a_run_are_itself_or_those_below_it(tmp_path):
    one, two = folder(tmp_path / "one", [row(1)]), folder(tmp_path / "two", [row(1)])
    assert task_folders(one) == [one]
    assert task_folders(tmp_path) == [one, two]
    for nothing in (tmp_path / "none", tmp_path / "one" / "results.yml"):
        with pytest.raises(ConfigurationError, match=r"no results\.yml"):
            task_folders(nothing)
