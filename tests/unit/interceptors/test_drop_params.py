from tests.unit.interceptors.alone import REQUEST, ask


async def test_named_parameters_are_left_out_at_the_top_level_only():
    body = {**REQUEST, "seed": 1, "top_k": 5, "extra": {"seed": 2}}
    asked = await ask("drop_params", {"params": ["seed", "top_k", "absent"]}, request=body)
    assert asked.sent == {**REQUEST, "extra": {"seed": 2}}
    assert asked.changes == [("drop_params", "seed"), ("drop_params", "top_k")]


async def test_a_body_without_them_is_untouched():
    raw = b'{"model": "m",  "x": NaN}'
    asked = await ask("drop_params", {"params": ["seed"]}, request=raw)
    assert asked.exchange.request.body.raw == raw
