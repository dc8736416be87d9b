from proxy.probing.check import NEEDS
from proxy.probing.table import CHECKS, GENERATION, ROUTES
from proxy.wire.profile import Capability, Profile, Verdict, read_profile, write_profile


def test_every_route_of_the_table_has_its_checks_together():
    order = [check.route for check in CHECKS.values()]
    assert list(dict.fromkeys(order)) == list(ROUTES)
    assert all(order.count(route) for route in GENERATION)


def test_names_are_those_of_a_profile():
    found = {name: Capability(Verdict.SUPPORTED, "", check.needed_by) for name, check in CHECKS.items()}
    profile = Profile("unknown", "http://h/v1", None, "", None, None, None, found)
    assert read_profile(write_profile(profile)) == profile


def test_needs_are_kinds_of_tasks_and_each_is_used():
    used = {kind for check in CHECKS.values() for kind in check.needed_by}
    assert used == NEEDS.keys()


def test_every_bad_verdict_of_what_tasks_need_has_advice():
    for check in CHECKS.values():
        if check.needed_by:
            assert {Verdict.IGNORED, Verdict.REJECTED, Verdict.WRONG} <= check.advice.keys(), check.name


def test_a_route_works_for_whatever_its_checks_are_needed_by():
    for check in CHECKS.values():
        if check.route in GENERATION:
            assert set(check.needed_by) <= set(CHECKS[f"{check.route}.works"].needed_by)
