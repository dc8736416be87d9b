import json
import zipfile

import orjson
import pytest

from tests.unit.store.bundle.making import export, fields, forge, forged, refused
from tests.unit.store.bundle_data import (
    IDENTITY,
)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, "format version 2, and this evalside reads version 1"),
        ({"key_version": "0"}, "keys of version '0', and this evalside makes version"),
        ({"format": "zip"}, "field 'format' is not 'evalside-bundle'"),
        ({"surprise": 1}, "field 'surprise' is 1: Extra inputs"),
        ({"run": "a/b"}, "field 'run' is 'a/b'"),
        ({"pass": -1}, "field 'pass' is -1"),
        ({"capabilities": ["x"]}, "field 'capabilities'"),
        ({"profiles": {}}, "field 'profiles'"),
        ({"profiles": {"one": {"format": 2}}}, "field 'profiles.one.format' is 2"),
        ({"created": 1.0}, "field 'created' is 1.0, and the entries add up to 1001.0"),
        ({"models": []}, r"field 'models' is \(\), and the entries add up to \('m',\)"),
        ({"identities": []}, f"field 'identities' lacks '{IDENTITY}'"),
        ({"run": "two"}, "line 4: field 'pool' is 'one/"),
        ({"members": {"entries.jsonl": {"size": 1, "sha256": "0" * 64}}}, "is not the one whose size and sha256"),
    ],
)
def test_a_manifest_that_is_wrong_is_refused_by_field(source, target, changes, message):
    refused(forged(export(source), **changes), target, message)


def test_a_wrong_checksum_is_refused(source, target, tmp_path):
    with zipfile.ZipFile(export(source)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    manifest = json.loads(members["manifest.json"]) | {"pass": 7}
    members["manifest.json"] = orjson.dumps(manifest, option=orjson.OPT_SORT_KEYS)
    refused(forge(tmp_path / "sum", members), target, "checksum that its field 'checksum' names")


def test_a_manifest_that_is_no_json_or_not_canonical_is_refused(source, target, tmp_path):
    with zipfile.ZipFile(export(source)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    spaced = json.dumps(json.loads(members["manifest.json"]), sort_keys=True).encode()
    for wrong, message in ((b"{", "manifest.json is not JSON"), (spaced, "manifest.json is not in canonical form")):
        refused(forge(tmp_path / "json", members | {"manifest.json": wrong}), target, message)


def test_it_lists_every_field_of_the_manifest(made):
    with zipfile.ZipFile(made) as archive:
        assert set(fields("## manifest.json")) == json.loads(archive.read("manifest.json")).keys()
