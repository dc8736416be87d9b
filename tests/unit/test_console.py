import json
import logging
import os
import sys
from contextlib import suppress

import pytest

from proxy import console as console_module
from proxy.console import console
from proxy.core.announce import announce
from proxy.core.redact import Redactor

logger = logging.getLogger("evalside.test")


def test_lines_are_json_with_their_fields(capsys) -> None:
    with console("info", Redactor()):
        logger.info("Something %s", "happened", extra={"run": "r", "ms": 1.5})
        logger.debug("not this")
    [line] = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["level"], line["run"], line["ms"]) == ("Something happened", "info", "r", 1.5)
    assert line["time"].endswith("Z")


def test_keys_are_taken_out_whatever_they_are_made_of(capsys) -> None:
    with console("info", Redactor(['quoted"secret', "plain-secret"])):
        logger.info('quoted"secret', extra={"run": 'a quoted"secret', "error": ValueError("plain-secret")})
        try:
            raise KeyError("plain-secret")  # noqa: TRY301 - its traceback is wanted
        except KeyError:
            logger.exception("it failed")
    out = capsys.readouterr().out
    assert 'quoted"' not in out
    assert "quoted\\" not in out
    assert out.count("plain-secret") == 0
    assert "KeyError" in json.loads(out.splitlines()[1])["traceback"]


def test_a_key_among_the_names_of_plain_fields_is_taken_out_too(capsys) -> None:
    with console("info", Redactor(["secret-name", "1234567"])):
        announce(logger, logging.INFO, "Said", {"secret-name": None, "count": 1234567})
    out = capsys.readouterr().out
    assert "Said" in out
    assert "secret-name" not in out
    assert "1234567" not in out


def test_the_logger_is_left_as_it_was() -> None:
    root = logging.getLogger("evalside")
    before = (root.level, root.propagate, list(root.handlers))
    with console("debug", Redactor()):
        assert root.handlers != before[2]
    assert (root.level, root.propagate, list(root.handlers)) == before


def test_a_pipe_that_nobody_reads_holds_up_nothing(monkeypatch) -> None:
    monkeypatch.setattr(console_module, "_PATIENCE", 0.1)
    monkeypatch.setattr(console_module, "_LONGEST", 50)
    reader, writer = os.pipe()
    with suppress(BrokenPipeError), os.fdopen(writer, "w") as pipe:  # what the buffer held cannot be written
        monkeypatch.setattr(sys, "stdout", pipe)
        with console("info", Redactor()):
            for _ in range(200):
                logger.info("x" * 5000)
        written = len(os.read(reader, 2_000_000))
        os.close(reader)
    assert 0 < written < 200 * 5000  # what the pipe took; the other lines are gone, and nobody waited for them


@pytest.mark.filterwarnings("error")
def test_a_reader_that_went_away_causes_no_traceback_a_line(monkeypatch, capfd) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    pipe = os.fdopen(writer, "w", buffering=1)
    monkeypatch.setattr(sys, "stdout", pipe)
    with console("info", Redactor()):
        logger.info("nobody sees this")
    assert capfd.readouterr().err == ""
    with pytest.raises(BrokenPipeError):
        pipe.close()
