"""What the reference says of other harnesses and of results is what the code has."""

from harness.external.base import COMMON_OPTIONS
from harness.external.drivers import DRIVERS
from harness.reporting.findings import NAMES
from harness.reporting.manifest import Told, manifest
from harness.reporting.sidecar import SidecarFacts
from tests.docs.markdown import DOCS, code, codes, table

PAGE = DOCS / "reference" / "harnesses.md"
RESULTS = DOCS / "reference" / "results.md"


def options(heading):
    return {code(row["option"]): row["meaning"] for row in table(PAGE, heading)}


def test_every_driver_is_listed_with_what_is_installed():
    rows = {code(row["harness"]): codes(row["installed"]) for row in table(PAGE, "# Other harnesses")}
    assert set(rows) == set(DRIVERS)
    for name, driver in DRIVERS.items():
        if driver.requirements:
            assert rows[name] == list(driver.requirements)


def test_every_option_is_explained():
    assert options("## Where it is installed") == dict(COMMON_OPTIONS)
    for name, driver in DRIVERS.items():
        assert options(f"### {name}") == dict(driver.options)


def test_every_finding_is_explained():
    assert [code(row["finding"]) for row in table(RESULTS, "## Findings")] == list(NAMES)


def test_every_key_of_the_manifest_is_explained():
    told = Told("t", "r", "", "c", {}, {}, "", "")
    written = [name for row in table(RESULTS, "## manifest.json") for name in codes(row["key"])]
    assert sorted(written) == sorted(manifest(told, SidecarFacts()))
