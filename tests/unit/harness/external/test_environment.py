import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from harness.errors import ConfigurationError, StartError
from harness.external import environment
from harness.external.base import Call
from harness.external.command import Command
from harness.external.drivers import DRIVERS
from harness.external.environment import Image, Programs, Recipe, find_environment, made, to_install
from tests.unit.harness.external.asking import make_ask


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_programs_of_a_folder_come_first_and_no_key_of_ours_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    program = tmp_path / "bin" / "x"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    argv, env = Programs(program.parent).command(Call(("x", "a"), {"A": "1"}), tmp_path)
    assert argv == [str(program), "a"]
    assert env["PATH"].startswith(f"{program.parent}:")
    assert env["A"] == "1"
    assert "OPENAI_API_KEY" not in env


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=f"no program 'x' in {tmp_path}"):
        Programs(tmp_path).command(Call(("x",)), tmp_path)
    with pytest.raises(ConfigurationError, match="no program 'no-such-program-here' on PATH"):
        Programs(None).command(Call(("no-such-program-here",)), tmp_path)


def test_an_image_sees_the_folders_at_their_own_place_and_no_value_is_in_its_arguments(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf-value")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-value")
    call = Call(("x", "a"), {"KEY": "value"}, tmp_path / "data", (tmp_path / "problems.jsonl", tmp_path / "data"))
    docker = engine(tmp_path, monkeypatch, "docker")
    argv, env = Image("img:1").command(call, tmp_path / "out")
    text = " ".join(argv)
    assert text.startswith(f"{docker} run --rm --init --network host")
    assert f"--volume {tmp_path}/data:{tmp_path}/data --volume {tmp_path}/out:{tmp_path}/out" in text
    assert f"--volume {tmp_path}/problems.jsonl:{tmp_path}/problems.jsonl:ro" in text
    assert text.count("--volume") == 3
    assert f"--workdir {tmp_path}/data --env HOME={tmp_path}/out" in text
    assert text.endswith("--env HF_TOKEN --env KEY img:1 x a")
    assert "value" not in text.replace(str(tmp_path), "")
    assert (env["KEY"], env["HF_TOKEN"]) == ("value", "hf-value")
    assert "OPENAI_API_KEY" not in env


def engine(folder, monkeypatch, name, user=1000):
    """The only container engine on PATH."""
    path = folder / "engines" / name
    path.parent.mkdir()
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(path.parent))
    monkeypatch.setattr("os.getuid", lambda: user)
    return path


@pytest.mark.parametrize(("user", "said"), [(1000, "run --userns keep-id --rm"), (0, "run --rm")])
def test_podman_runs_an_image_where_there_is_no_docker(tmp_path, monkeypatch, user, said):
    podman = engine(tmp_path, monkeypatch, "podman", user)
    argv, env = Image("img:1").command(Call(("x",)), tmp_path)
    assert " ".join(argv).startswith(f"{podman} {said}")
    assert f"--user {user}:" in " ".join(argv)
    assert env["PATH"] == str(podman.parent)


def test_an_image_without_an_engine_is_an_error_that_names_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"no docker or podman on PATH .* image 'img:1'.*extra\.python"):
        Image("img:1").command(Call(("x",)), tmp_path)


@pytest.mark.skipif(shutil.which("docker") is None, reason="docker's command line is not installed")
def test_docker_itself_understands_the_command_line(tmp_path, monkeypatch):
    """It gets as far as looking for its daemon, which it does when it has read all of its arguments."""
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    monkeypatch.delenv("DOCKER_CONTEXT", raising=False)
    call = Call(("x", "--help"), {"KEY": "value"}, tmp_path, (tmp_path / "problems.jsonl",))
    argv, env = Image("img:1").command(call, tmp_path / "out")
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 125
    assert f"{tmp_path}/none.sock" in done.stderr
    argv.insert(2, "--no-such-option")
    wrong = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    assert "none.sock" not in wrong.stderr


def test_a_manifest_tells_the_version_that_is_installed_and_not_the_one_that_was_wanted(tmp_path):
    class Named(Command):
        requirements = ("pytest[all]==0.0.1",)

    programs = Programs(Path(sys.executable).parent)
    assert programs.facts(Named()) == {"package": "pytest", "version": pytest.__version__}
    assert programs.facts(Command()) == {}
    assert Programs(tmp_path).facts(Named()) == {}
    assert Image("img:1").facts(Named()) == {"image": "img:1"}


def test_pip_gets_no_key_either(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-value")
    monkeypatch.setenv("HF_TOKEN", "hf-value")
    monkeypatch.setenv("PIP_NO_COLOR", "1")
    fake = tmp_path / "fake-python"
    fake.write_text("#!/bin/sh\nenv\n")
    fake.chmod(0o755)
    environment._install(fake, Recipe(("a==1",)), tmp_path / "log")
    said = (tmp_path / "log").read_text()
    assert "PIP_NO_COLOR=1" in said
    assert "sk-value" not in said
    assert "hf-value" not in said


def test_the_user_names_a_python_or_an_image(tmp_path):
    log = tmp_path / "log"
    named = make_ask(tmp_path, "t", options={"python": sys.executable})
    assert find_environment(Command(), named, log) == Programs(Path(sys.executable).parent)
    assert find_environment(Command(), make_ask(tmp_path, "t", options={"image": "i"}), log) == Image("i")
    assert find_environment(Command(), make_ask(tmp_path, "t"), log) == Programs(None)
    for wrong in (tmp_path, tmp_path / "none"):
        with pytest.raises(ConfigurationError, match="no Python that can be run"):
            find_environment(Command(), make_ask(tmp_path, "t", options={"python": str(wrong)}), log)


def test_an_environment_is_made_once_by_whoever_comes_first(tmp_path):
    """`pip` is in every new environment, so that this needs no network."""
    found, options = [], {"requirements": ["pip"]}
    ask = make_ask(tmp_path, "t", options=options)

    def make(number):
        found.append(find_environment(Command(), ask, tmp_path / f"{number}.log"))

    threads = [threading.Thread(target=make, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1]
    assert isinstance(found[0], Programs)
    assert found[0].folder is not None
    assert len(list(tmp_path.glob("?.log"))) == 1  # pip ran once
    python = found[0].folder / "python"
    said = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(found[0].folder.parent)


def test_a_harness_comes_without_the_gigabytes_that_its_driver_never_imports(tmp_path):
    fake = tmp_path / "fake-python"
    fake.write_text("#!/bin/sh\necho $@\n")
    fake.chmod(0o755)
    environment._install(fake, Recipe(("big==1",), ("small", "tiny>=2")), tmp_path / "log")
    pip = "-m pip install --disable-pip-version-check --no-input"
    assert (tmp_path / "log").read_text() == f"{pip} small tiny>=2\n{pip} --no-deps big==1\n"
    for name in ("evalplus", "bfcl"):
        assert to_install(DRIVERS[name], {}) == DRIVERS[name].requirements
        assert environment._recipe(DRIVERS[name], {}).imported == DRIVERS[name].imported != ()


def test_a_step_that_fails_is_the_last_one(tmp_path):
    fake = tmp_path / "fake-python"
    fake.write_text("#!/bin/sh\necho $@; exit 1\n")
    fake.chmod(0o755)
    with pytest.raises(StartError, match="cannot install big==1"):
        environment._install(fake, Recipe(("big==1",), ("small",)), tmp_path / "log")
    assert "big" not in (tmp_path / "log").read_text()


def test_two_recipes_are_two_environments(tmp_path):
    assert environment._root("x", Recipe(("a",))) != environment._root("x", Recipe(("a",), ("b",)))


def test_what_is_not_there_yet_is_known_before_it_is_installed(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_install", lambda *_args: None)
    monkeypatch.setattr("venv.create", lambda root, **_: root.mkdir())
    options = {"requirements": ["a==1"]}
    assert to_install(Command(), options) == ("a==1",)
    find_environment(Command(), make_ask(tmp_path, "t", options=options), tmp_path / "log")
    assert to_install(Command(), options) == ()
    assert to_install(Command(), {"requirements": ["a==2"], "python": sys.executable}) == ()
    assert to_install(Command(), {"requirements": ["a==2"], "image": "i"}) == ()
    assert to_install(Command(), {}) == ()


def test_one_that_was_cut_off_is_made_anew(tmp_path, monkeypatch):
    installed = []
    monkeypatch.setattr(environment, "_install", lambda *args: installed.append(args))
    monkeypatch.setattr("venv.create", lambda root, **_: root.mkdir())
    programs = made("x", Recipe(("a==1",)), tmp_path / "log")
    (programs.parent / environment._DONE).unlink()
    (programs.parent / "left-over").touch()
    assert made("x", Recipe(("a==1",)), tmp_path / "log") == programs
    assert not (programs.parent / "left-over").exists()
    assert len(installed) == 2
    assert made("x", Recipe(("a==2",)), tmp_path / "log") != programs


def test_what_cannot_be_installed_is_an_error_with_pips_own_words(tmp_path):
    fake = tmp_path / "fake-python"
    fake.write_text("#!/bin/sh\necho no such distribution; exit 1\n")
    fake.chmod(0o755)
    with pytest.raises(StartError, match=r"cannot install a==1; name an environment[\s\S]*no such distribution"):
        environment._install(fake, Recipe(("a==1",)), tmp_path / "log")
