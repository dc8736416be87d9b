"""The drivers, by the name of their harness."""

from harness.errors import ConfigurationError
from harness.external.base import Driver
from harness.external.bfcl import Bfcl
from harness.external.command import Command
from harness.external.evalplus import EvalPlus
from harness.external.evalscope import EvalScope
from harness.external.inspect_ai import InspectAi
from harness.external.lm_eval import LmEval
from harness.external.simple_evals import SimpleEvals
from harness.strict import nearest

DRIVERS: dict[str, Driver] = {
    driver.name: driver for driver in (LmEval(), InspectAi(), EvalPlus(), Bfcl(), SimpleEvals(), EvalScope(), Command())
}


def find_driver(name: str) -> Driver:
    """The driver of that harness. Raises ConfigurationError with the nearest name and all valid ones."""
    if name not in DRIVERS:
        raise ConfigurationError(f"unknown harness {name!r}{nearest(name, DRIVERS)}")
    return DRIVERS[name]
