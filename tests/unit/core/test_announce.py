import io
import logging

import pytest

from proxy.core.announce import announce


@pytest.fixture
def heard():
    logger, stream = logging.getLogger("announced"), io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(filename)s:%(lineno)d %(asctime)s %(message)s"))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    yield logger, stream
    logger.removeHandler(handler)


def test_any_handler_takes_an_event_for_a_record(heard):
    logger, stream = heard
    announce(logger, logging.WARNING, "100 % done", {"run": "r"})
    line = stream.getvalue()
    assert line.startswith("announced WARNING :0 2")
    assert line.endswith(" 100 % done\n")


def test_what_is_below_the_level_is_not_said(heard):
    logger, stream = heard
    announce(logger, logging.DEBUG, "not this", {})
    assert stream.getvalue() == ""


def test_its_fields_are_kept(caplog):
    with caplog.at_level(logging.INFO, "evalside.announced"):
        announce(logging.getLogger("evalside.announced"), logging.INFO, "Said", {"ms": 1.5})
    assert [(record.message, record.fields) for record in caplog.records] == [("Said", {"ms": 1.5})]
