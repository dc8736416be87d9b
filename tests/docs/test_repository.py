"""What has to hold for the repository as a whole."""

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from harness.external.drivers import DRIVERS

ROOT = Path(__file__).parents[2]
REQUIREMENTS = sorted((ROOT / "requirements").glob("*.txt"))

# Joined from pieces, so that this file passes its own test.
REGISTRY_HOSTS = re.compile(
    "|".join(rf"{name}\.{end}" for name, end in [("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "(org|com)")])
)
MACHINE_PATHS = re.compile(r"(?<![\w.~$}{-])/(?:work|root|Users|home/\w+)/")


@cache
def repository_files() -> list[Path]:
    listing = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, text=True, check=False).stdout.split("\0")
    files = [ROOT / name for name in names if name]
    if not files:
        pytest.skip("not a git checkout")
    return [path for path in files if path.is_file()]


def lines_matching(pattern: re.Pattern[str]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:160]}"
        for path in repository_files()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1)
        if pattern.search(line)
    ]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_no_file_names_a_package_registry():
    assert lines_matching(REGISTRY_HOSTS) == []


def test_no_file_contains_a_path_of_somebodys_machine():
    assert lines_matching(MACHINE_PATHS) == []


@pytest.mark.parametrize("path", REQUIREMENTS, ids=lambda path: path.name)
def test_requirements_are_pinned_and_hashed_and_name_no_index(path):
    text = path.read_text().replace("\\\n", "")
    entries = [line for line in text.splitlines() if line and not line.startswith("#")]

    assert entries
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z0-9,-]+\])?==\S+ .*--hash=sha256:[0-9a-f]{64}", entry), entry[:100]


def pinned(path: Path) -> dict[str, str]:
    """The versions in a requirement file, by package."""
    lines = [line.split(" ")[0].split("==") for line in path.read_text().splitlines() if "==" in line.split(" ")[0]]
    return {name.partition("[")[0]: version for name, version in lines}


def test_torch_is_installed_only_where_gigabytes_are_asked_for_and_then_for_the_cpu():
    with_torch = {path.stem: found["torch"] for path in REQUIREMENTS if "torch" in (found := pinned(path))}
    assert set(with_torch) == {"transformers"}
    assert all(version.endswith("+cpu") for version in with_torch.values())
    assert all(not {"tensorflow", "jax", "triton"} & set(pinned(path)) for path in REQUIREMENTS)
    e2e = next(line for line in (ROOT / "Makefile").read_text().splitlines() if line.startswith("e2e:"))
    assert "HARNESS_VENVS" not in e2e
    assert "TRANSFORMERS" not in e2e


def test_the_environments_of_harnesses_have_what_their_drivers_install():
    for name, driver in DRIVERS.items():
        path = ROOT / "requirements" / f"{name}.txt"
        assert path.exists() == bool(driver.requirements), name
        for wanted in (*driver.requirements, *driver.imported):
            package, _, version = wanted.partition("==")
            package = re.split(r"[\[>]", package)[0]
            if package != "inspect-evals":  # tasks alone; ours are a file of our own
                assert pinned(path).get(package, "") == (version or pinned(path)[package]), wanted


def test_requirements_that_share_an_environment_agree():
    versions: dict[str, set[str]] = {}
    for name in ["runtime.txt", "build.txt", "demo.txt", "dev.txt"]:
        for line in (ROOT / "requirements" / name).read_text().splitlines():
            if match := re.match(r"(\S+==[^ ;]+)", line):
                package, version = match[1].split("==")
                versions.setdefault(package, set()).add(version)

    assert {package: found for package, found in versions.items() if len(found) > 1} == {}


@pytest.mark.parametrize("command", ["make demo", "make test"])
def test_readme_names_the_command_and_the_makefile_has_it(command):
    assert re.search(rf"^{command}\b", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert command.split()[1] in make_targets()


def test_make_without_a_target_lists_them_all():
    shown = subprocess.run(
        ["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout

    assert set(re.findall(r"^ +make (\S+) +\S", shown, re.MULTILINE)) == make_targets()
    assert make_targets() >= {"bench", "clean", "demo", "docker", "docs", "e2e", "help", "lint", "lock", "test"}


def test_links_between_documents_lead_somewhere():
    documents = [path for path in repository_files() if path.suffix == ".md"]
    broken = [
        f"{document.relative_to(ROOT)} -> {target}"
        for document in documents
        for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text())
        if "://" not in target and not (document.parent / target).exists()
    ]

    assert broken == []


def test_all_ci_commands_are_those_of_the_makefile():
    used = re.findall(r"\bmake ([a-z0-9-]+)", (ROOT / ".ci" / "run").read_text())

    assert {"lint", "test", "demo", "e2e"} <= set(used) <= make_targets()
