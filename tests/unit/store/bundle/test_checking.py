from proxy.store.base import sample_pool
from proxy.store.bundle.checking import read_manifest
from proxy.store.bundle.entry import write_line
from tests.unit.store.bundle.making import export, forged, lines_of, refused
from tests.unit.store.bundle_data import (
    RECEIVED,
    answer,
)


def test_counts_have_to_be_those_of_the_entries(source, target):
    made = export(source)
    counts = read_manifest(made).counts.model_dump() | {"samples": 3}
    refused(forged(made, counts=counts), target, "field 'counts' is .*, and the entries add up to")


def test_a_bad_entry_at_the_end_leaves_nothing_of_the_good_ones(source, target):
    made = export(source)
    at, response = answer("drawn", pool=sample_pool("one", RECEIVED), sample=2, body=b'{"choices":[]}')
    refused(
        forged(made, lines=[*lines_of(made), write_line(at, response)]),
        target,
        "line 6: field 'body' is not a complete answer of route 'chat'",
    )
