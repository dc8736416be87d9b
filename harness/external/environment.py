"""Where a foreign harness is installed: an environment made for it, one that the user names, or a container image."""

import contextlib
import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from harness.errors import ConfigurationError, StartError
from harness.external.base import Ask, Call, Driver

_DONE = ".evalside-installed"
_PATIENCE_S = 30.0
_PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "HF_HOME", "HF_TOKEN", "HF_ENDPOINT")
"""Variables of ours that a harness gets. No key of the model server is among them: the sidecar has that."""
HUB_LOGIN = "HF_TOKEN"
_INTO_IMAGES = (HUB_LOGIN, "HF_ENDPOINT")
_ENGINES = ("docker", "podman")
_FOR_ENGINES = ("PATH", "HOME", "XDG_RUNTIME_DIR", "DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "CONTAINER_HOST")
"""What of ours an engine needs to find its daemon, images and logins; the container gets none of it."""
_FOR_PIP = re.compile(
    r"PIP_|XDG_CACHE_HOME$|REQUESTS_CA_BUNDLE$|CURL_CA_BUNDLE$|SSL_CERT_DIR$|(?i:(https?|all|no)_proxy$)"
)
"""Further ones that pip gets, which may run the build scripts of what it installs."""


class Recipe(NamedTuple):
    """What an environment is made of. With `imported`, `wanted` is installed without what it asks for."""

    wanted: tuple[str, ...]
    imported: tuple[str, ...] = ()

    def steps(self) -> list[tuple[str, ...]]:
        """The arguments of `pip install`, one call after another."""
        return [self.imported, ("--no-deps", *self.wanted)] if self.imported else [self.wanted]


class Environment(Protocol):
    """Where commands run."""

    def command(self, call: Call, folder: Path) -> tuple[list[str], dict[str, str]]:
        """The whole command line and environment of a call whose files go to `folder`."""
        ...

    def facts(self, driver: Driver) -> dict[str, str]:
        """What is known of the driver's harness there, for a manifest."""
        ...


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder of programs, or None for those on PATH."""

    folder: Path | None

    def command(self, call: Call, folder: Path) -> tuple[list[str], dict[str, str]]:
        """The program of that folder, which comes first on its PATH, too."""
        env = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | dict(call.env)
        program, *rest = call.argv
        if self.folder is not None:
            env["PATH"] = f"{self.folder}{os.pathsep}{env.get('PATH', os.defpath)}"
        found = shutil.which(program, path=env.get("PATH"))
        if found is None:
            where = "on PATH" if self.folder is None else f"in {self.folder}"
            raise ConfigurationError(f"there is no program {program!r} {where}; install it, or name it by its path")
        return [found, *rest], env

    def facts(self, driver: Driver) -> dict[str, str]:
        """The version that is installed, where the environment has the harness's package."""
        if self.folder is None or not driver.requirements:
            return {}
        package = re.split(r"[\[=<>~! ]", driver.requirements[0])[0]
        code = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
        try:
            done = subprocess.run(  # noqa: S603 - of the environment that just ran the harness
                [str(self.folder / "python"), "-I", "-c", code, package],
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_PATIENCE_S, check=True,
            )  # fmt: skip
        except (OSError, subprocess.SubprocessError):
            return {}
        return {"package": package, "version": done.stdout.strip()}


@dataclass(frozen=True, slots=True)
class Image:
    """A container image, run on the host's network as the user who runs us; its home is the folder.

    docker runs it, or podman where there is no docker.
    """

    name: str

    def command(self, call: Call, folder: Path) -> tuple[list[str], dict[str, str]]:
        """The engine's `run`, with the folder at the same path inside; what is read beside it cannot be written."""
        argv = [*self._engine(), "--rm", "--init", "--network", "host", "--user", f"{os.getuid()}:{os.getgid()}"]
        places = {folder.resolve(), *([call.cwd.resolve()] if call.cwd is not None else [])}
        for place in sorted(places):
            argv += ["--volume", f"{place}:{place}"]
        for path in sorted({path.resolve() for path in call.reads} - places):
            argv += ["--volume", f"{path}:{path}:ro"]
        argv += ["--workdir", str((call.cwd or folder).resolve()), "--env", f"HOME={folder.resolve()}"]
        given = {name: os.environ[name] for name in _INTO_IMAGES if name in os.environ} | dict(call.env)
        for name in given:
            argv += ["--env", name]  # the value comes from the engine's environment, so no list of processes shows it
        own = {name: os.environ[name] for name in _FOR_ENGINES if name in os.environ}
        return [*argv, self.name, *call.argv], own | given

    def _engine(self) -> list[str]:
        for name in _ENGINES:
            found = shutil.which(name)
            if found is not None:
                # Without it, the user who runs podman is the container's root, and this number is somebody else there.
                own_number = ["--userns", "keep-id"] if name == "podman" and os.getuid() else []
                return [found, "run", *own_number]
        raise ConfigurationError(
            f"there is no {' or '.join(_ENGINES)} on PATH to run the image {self.name!r}; install one, or name the "
            "Python of an environment that has the harness in params.extra.python"
        )

    def facts(self, driver: Driver) -> dict[str, str]:
        """The name of the image."""
        return {"image": self.name}


def find_environment(driver: Driver, ask: Ask, log: Path) -> Environment:
    """The environment for a driver, made where there is none; pip's output goes to `log`.

    Raises ConfigurationError if the one that the user names is none, StartError if it cannot be made.
    """
    if ask.options.get("image") is not None:
        return Image(str(ask.options["image"]))
    named = ask.options.get("python")
    if named is not None:
        path = Path(named).expanduser()
        if not os.access(path, os.X_OK) or path.is_dir():
            raise ConfigurationError(f"params.extra.python is {str(named)!r}, which is no Python that can be run")
        return Programs(path.absolute().parent)
    recipe = _recipe(driver, ask.options)
    return Programs(None) if not recipe.wanted else Programs(made(driver.name, recipe, log))


def to_install(driver: Driver, options: Mapping[str, Any]) -> tuple[str, ...]:
    """The requirements that `find_environment` would install first; none if they are there, or the user says where."""
    if options.get("image") is not None or options.get("python") is not None:
        return ()
    recipe = _recipe(driver, options)
    return () if not recipe.wanted or (_root(driver.name, recipe) / _DONE).exists() else recipe.wanted


def cache_root() -> Path:
    """The folder of all environments: below XDG_CACHE_HOME, else ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "evalside" / "harnesses"


def made(name: str, recipe: Recipe, log: Path) -> Path:
    """The programs of an environment with what the recipe says: made once for each recipe and version of Python.

    Two processes that want the same one wait for each other. Raises StartError with the end of pip's output.
    """
    root = _root(name, recipe)
    programs = root / "bin"
    with _locked(root.with_suffix(".lock")):
        if (root / _DONE).exists():
            return programs
        shutil.rmtree(root, ignore_errors=True)  # one that was cut off
        venv.create(root, with_pip=True, symlinks=True)
        _install(programs / "python", recipe, log)
        (root / _DONE).touch()
    return programs


def _recipe(driver: Driver, options: Mapping[str, Any]) -> Recipe:
    own = options.get("requirements")
    return Recipe(tuple(own)) if own else Recipe(driver.requirements, driver.imported)


def _root(name: str, recipe: Recipe) -> Path:
    said = "\n".join([*recipe.wanted, *recipe.imported, sys.version])
    return cache_root() / f"{name}-{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def _install(python: Path, recipe: Recipe, log: Path) -> None:
    argv = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    env = {name: value for name, value in os.environ.items() if name in _PASSED_ON or _FOR_PIP.match(name)}
    env.pop(HUB_LOGIN, None)
    code = 0
    with log.open("wb") as out:
        for step in recipe.steps():
            code = (
                code
                or subprocess.run(  # noqa: S603 - ours
                    [*argv, *step], env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out, check=False
                ).returncode
            )
    if code:
        end = "\n".join(f"  | {line}" for line in log.read_text(errors="replace").splitlines()[-10:])
        raise StartError(
            f"cannot install {', '.join(recipe.wanted)}; name an environment that has it in params.extra.python\n"
            f"The end of pip's output, {log}:\n{end}"
        )


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # held while the environment is made, and by nobody who only uses it
        yield
