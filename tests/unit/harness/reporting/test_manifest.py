import json
import platform
from dataclasses import dataclass, replace

from harness.reporting.manifest import fingerprint, manifest, versions
from harness.reporting.sidecar import SidecarFacts
from tests.unit.harness.reporting.test_report import TOLD


@dataclass
class Facts:
    dataset: str
    rows: int


def test_it_says_what_a_stranger_needs():
    sidecar = SidecarFacts(
        run={"identities": [{"identity": "i"}], "mixed": False, "cache": {"hit": 3}, "changes": [{"field": "seed"}]},
        config={"fingerprint": "f1", "pipeline": [{"name": "caching"}]},
    )
    found = json.loads(json.dumps(manifest(replace(TOLD, data=(Facts("gsm8k", 5), {"dataset": "x"})), sidecar)))
    assert found["upstream"] == {"identities": [{"identity": "i"}], "mixed": False}
    assert (found["pipeline_fingerprint"], found["cache"], found["changes"]) == ("f1", {"hit": 3}, [{"field": "seed"}])
    assert found["data"] == [{"dataset": "gsm8k", "rows": 5}, {"dataset": "x"}]
    assert "--run quiz-1" in found["reproduce"][0]
    assert found["versions"]["python"] == platform.python_version()


def test_a_sidecar_that_said_nothing_leaves_nulls():
    found = manifest(TOLD, SidecarFacts())
    assert found["pipeline_fingerprint"] is None
    assert found["upstream"] == {"identities": [], "mixed": None}


def test_the_fingerprint_is_of_the_settings_alone():
    one = manifest(TOLD, SidecarFacts())
    later = manifest(replace(TOLD, run="quiz-2", started_at="2027-01-01"), SidecarFacts())
    other = manifest(replace(TOLD, config={"type": "quiz", "params": {"temperature": 1.0}}), SidecarFacts())
    assert one["config_fingerprint"] == later["config_fingerprint"] != other["config_fingerprint"]
    assert fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})


def test_packages_that_are_missing_are_left_out(monkeypatch):
    monkeypatch.setattr("harness.reporting.manifest._PACKAGES", ("evalside", "no-such-package-here"))
    assert "evalside" in versions()
    assert "no-such-package-here" not in versions()
