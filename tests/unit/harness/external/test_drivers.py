import pytest

from harness.errors import ConfigurationError
from harness.external.drivers import DRIVERS, find_driver


def test_every_driver_is_found_by_its_name_and_pins_its_harness():
    for name, driver in DRIVERS.items():
        assert find_driver(name) is driver
        assert name == "command" or "==" in driver.requirements[0]
        assert all(text and not text.endswith(".") for text in driver.options.values())


def test_an_unknown_harness_suggests_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean 'lm-eval'"):
        find_driver("lm_eval")
