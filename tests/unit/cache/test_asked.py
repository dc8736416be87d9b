import pytest

from proxy.cache.asked import Holder
from proxy.cache.keeping import Witness
from tests.unit.cache.parts import PROBED, asked, plain, response, stored


@pytest.mark.parametrize(
    ("mode", "can"),
    [
        ("on", {"serves", "stores", "coalesces"}),
        ("read", {"serves", "coalesces"}),
        ("write", {"stores"}),
        ("refresh", {"stores", "replaces"}),
        ("replay", {"serves"}),
        ("verify", {"serves", "stores"}),
    ],
)
def test_what_a_mode_may_do(mode: str, can: set[str]) -> None:
    made = asked(mode)
    assert {name for name in ("serves", "stores", "replaces", "coalesces") if getattr(made, name)} == can


def test_the_witness_is_who_would_answer_this_request() -> None:
    made = asked(identity=PROBED)
    assert made.witness == Witness(PROBED, made.exchange.request.headers, "m")


@pytest.mark.parametrize(("mode", "status", "kept"), [("on", 200, 1), ("on", 404, 0), ("read", 200, 0)])
def test_only_what_is_kept_is_watched(mode: str, status: int, kept: int) -> None:
    made, answer, seen = asked(mode), response(status=status), []
    made.watch(made.exchange, answer, lambda found: seen.append(found.body))
    assert seen == [plain()] * kept
    assert answer.tap_errors == []


def test_a_holder_holds_one_answer() -> None:
    holder = Holder()
    assert holder.answer is None
    holder.put(stored(b"a"))
    assert holder.answer == stored(b"a")
