import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from proxy.dialects.loading import DialectError, find, names, read, shipped

FOLDER = Path("proxy/dialects")


@pytest.mark.parametrize("name", names())
def test_each_shipped_file_is_valid_and_named_for_its_server(name):
    assert shipped(name).name == name


@pytest.mark.parametrize("name", names())
def test_each_shipped_file_says_where_its_facts_are_from(name):
    assert (FOLDER / f"{name}.toml").read_text().startswith("# Sources: ")


def test_every_kind_of_server_that_is_recognized_has_one():
    assert set(names()) == {
        "azure", "llama.cpp", "nim", "ollama", "openai", "sglang", "tensorrt-llm", "tgi", "transformers", "vllm"
    }  # fmt: skip


def test_they_are_in_the_wheel(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, "."],
        check=True, capture_output=True,
    )  # fmt: skip
    [wheel] = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert {f"proxy/dialects/{name}.toml" for name in names()} <= packed


def test_a_file_of_ones_own_is_read(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('name = "mine"\n[chat]\nunsupported = ["top_k"]\ndefaults = { temperature = 0 }\n')

    found = find(str(path))

    assert found.name == "mine"
    assert found.rules("chat").lacks("top_k")
    assert found.rules("chat").defaults == {"temperature": 0}
    assert not found.rules("completions").lacks("top_k")
    assert not found.rules("embeddings").lacks("top_k")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ("vlm", "unknown dialect 'vlm'; did you mean 'vllm'"),
        ("ato", "did you mean 'auto'"),
        ("./absent.toml", "dialect file absent.toml cannot be read"),
        ("absent.toml", "cannot be read"),
    ],
)
def test_one_that_is_not_there_is_named(said, message):
    with pytest.raises(DialectError, match=message):
        find(said)


def test_a_file_that_is_no_text_is_an_error(tmp_path):
    (tmp_path / "x.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(DialectError, match=r"x\.toml cannot be read"):
        find(str(tmp_path / "x.toml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "dialect file f is not TOML"),
        ("", "dialect file f: name: Field required"),
        ('name = ""', "name: String should have at least 1"),
        ('name = "x"\nsurprise = 1', "surprise: Extra inputs"),
        ('name = "x"\n[chat]\nrenam = {}', r"chat\.renam: Extra inputs"),
        ('name = "x"\n[chat]\nunsupported = ["a.b"]', r"chat\.unsupported\.0: String should match"),
        ('name = "x"\n[chat]\nunsupported = "a"', "Input should be a valid list"),
        ('name = "x"\n[chat]\nunsupported = ["messages"]', "'messages' cannot be unsupported"),
        ('name = "x"\n[chat]\naccepts = ["a"]\nunsupported = ["a"]', "'a' is in 'accepts' and in 'unsupported'"),
        ('name = "x"\n[chat]\naccepts = ["a"]\nrename = {b = "c"}', "'b' is renamed to 'c', which the server does not"),
        ('name = "x"\n[chat]\nunsupported = ["c"]\nrename = {b = "c"}', "'b' is renamed to 'c', which the server does"),
        ('name = "x"\n[chat]\nrename = {a = "b", b = "c"}', "'a' is renamed to 'b', which is renamed itself"),
        ('name = "x"\n[chat]\naccepts = ["n"]\nfan_out = true', "'n' is in 'accepts', and 'fan_out'"),
        ('name = "x"\n[chat.clamp]\na = {}', "a range has 'min', 'max' or both"),
        ('name = "x"\n[chat.clamp]\na = {min = 3, max = 1}', r"'min' \(3\) is above 'max' \(1\)"),
        ('name = "x"\n[chat.clamp]\na = {min = "3"}', r"chat\.clamp\.a\.min"),
        ('name = "x"\n[answers]\ndone = "never"', r"answers\.done: Input should be 'sent' or 'missing'"),
        ('name = "x"\n[answers]\nerrors = "odd"', r"answers\.errors: Input should be 'detail', 'text' or 'flat'"),
    ],
)
def test_a_mistake_is_named_with_its_place(text, message):
    with pytest.raises(DialectError, match=message):
        read(text, "f")


def test_all_mistakes_are_told_at_once():
    with pytest.raises(DialectError) as caught:
        read("surprise = 1\nother = 2\n", "f")
    assert len(str(caught.value).splitlines()) == 3
