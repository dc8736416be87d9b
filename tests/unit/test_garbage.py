import gc

from proxy.garbage import settled


def test_what_exists_is_left_alone_and_then_as_it_was():
    before = gc.get_threshold(), gc.get_freeze_count()
    with settled():
        assert gc.get_freeze_count() > before[1] + 1000
        assert gc.get_threshold() > before[0]
    assert (gc.get_threshold(), gc.get_freeze_count()) == (before[0], 0)


def test_what_is_made_meanwhile_is_collected():
    with settled():
        cycle: list = []
        cycle.append(cycle)
        del cycle
        assert gc.collect() > 0
