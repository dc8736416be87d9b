import hashlib
import zipfile

from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.store.bundle import archive as archive_module
from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.manifest import BundleError
from tests.docs.markdown import section
from tests.unit.store.bundle.making import PAGE, export, forge, forged, lines_of, refused


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_any_flipped_byte_is_found(made, empty, place, mask):
    data = bytearray(made.read_bytes())
    data[int(place * len(data))] ^= mask
    damaged = made.with_name("flipped")
    damaged.write_bytes(data)
    refused(damaged, empty, "is damaged, cut or no bundle")


@settings(max_examples=30, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_cut_file_is_refused(made, empty, place):
    data = made.read_bytes()
    cut = made.with_name("cut")
    cut.write_bytes(data[: int(place * len(data))])
    refused(cut, empty, "is damaged, cut or no bundle")


@settings(max_examples=150, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255), member=st.sampled_from([0, 1]))
def test_a_flipped_byte_under_a_right_seal_is_found(made, empty, place, mask, member):
    with zipfile.ZipFile(made) as archive:
        members = {name: bytearray(archive.read(name)) for name in archive.namelist()}
    data = members[list(members)[member]]
    data[int(place * len(data))] ^= mask
    changed = forge(made.with_name("under"), {name: bytes(data) for name, data in members.items()})
    refused(changed, empty, "entries.jsonl|manifest.json")


@settings(max_examples=60, deadline=None)
@given(place=st.floats(0, 1, exclude_max=True), mask=st.integers(1, 255))
def test_a_damaged_archive_under_a_right_seal_is_an_error_or_the_same_bundle(made, empty, place, mask):
    data = bytearray(made.read_bytes()[:-71])
    data[int(place * len(data))] ^= mask
    damaged = made.with_name("structure")
    damaged.write_bytes(bytes(data) + b"sha256:" + hashlib.sha256(data).hexdigest().encode())
    try:
        found = read_manifest(damaged)
    except BundleError as error:
        assert str(damaged) in str(error)  # noqa: PT017 - either is right
    else:
        assert found == read_manifest(made)


def test_what_is_no_archive_is_refused(tmp_path, target):
    path = tmp_path / "text"
    path.write_bytes(b"hello")
    refused(path, target, "is damaged, cut or no bundle")
    data = b"no archive"
    path.write_bytes(data + b"sha256:" + hashlib.sha256(data).hexdigest().encode())
    refused(path, target, "is not a readable archive")
    refused(tmp_path / "absent", target, r"cannot be read \(No such file")


def test_other_members_are_refused(source, target, tmp_path):
    made = export(source)
    with zipfile.ZipFile(made) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for wrong in (
        {**members, "extra": b""},
        {"../entries.jsonl": members["entries.jsonl"], "manifest.json": members["manifest.json"]},
        {"/etc/entries.jsonl": members["entries.jsonl"], "manifest.json": members["manifest.json"]},
        {"manifest.json": members["manifest.json"]},
    ):
        refused(forge(tmp_path / "members", wrong), target, r"holds \d files .*; a bundle holds")


def test_another_compression_is_refused(source, target, tmp_path):
    made = export(source)
    with zipfile.ZipFile(made) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    refused(forge(tmp_path / "lzma", members, zipfile.ZIP_LZMA), target, "compressed by method 14")
    assert read_manifest(forge(tmp_path / "stored", members, zipfile.ZIP_STORED)) == read_manifest(made)


def test_a_bomb_is_refused_before_it_is_unpacked(source, target, monkeypatch):
    made = export(source)
    bomb = forged(made, lines=[b" " * 50_000_000])
    assert bomb.stat().st_size < 100_000
    monkeypatch.setattr(archive_module, "LARGEST", 40_000_000)
    refused(bomb, target, r"entries.jsonl says it has 50000001 bytes; at most 40000000")


def test_a_long_line_is_refused_without_the_rest_of_it(source, target, monkeypatch):
    monkeypatch.setattr(archive_module, "LONGEST_LINE", 1000)
    refused(forged(export(source), lines=[b" " * 5000]), target, "line 1: is cut, or longer than 1000 bytes")


def test_too_many_entries_are_refused(source, target, monkeypatch):
    monkeypatch.setattr(archive_module, "MOST_ENTRIES", 4)
    refused(export(source), target, "line 5: at most 4 entries")


def test_a_manifest_that_says_it_is_large_is_refused(source, target, monkeypatch):
    made = export(source)
    monkeypatch.setattr(archive_module, "LARGEST_MANIFEST", 100)
    refused(made, target, r"manifest.json says it has \d+ bytes")


def test_entries_out_of_order_or_twice_are_refused(source, target):
    made = export(source)
    lines = lines_of(made)
    refused(forged(made, lines=lines[::-1]), target, "line 2: is out of order, or there twice")
    refused(forged(made, lines=[lines[0], lines[0]]), target, "line 2: is out of order, or there twice")


def test_it_names_the_limits():
    text = " ".join(section(PAGE, "## What an import checks").split())
    assert f"{archive_module.LARGEST >> 30} GiB of entries, {archive_module.LARGEST_MANIFEST >> 20} MiB" in text
    assert f"at most {archive_module.LONGEST_LINE >> 20} MiB, at most {archive_module.MOST_ENTRIES:,} entries" in text
