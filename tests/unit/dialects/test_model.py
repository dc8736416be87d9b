from proxy.dialects.loading import shipped
from proxy.dialects.model import UNKNOWN, Dialect
from proxy.wire.parameters import Bounds, Rules


def test_rules_are_what_the_file_says_of_the_route():
    rules = shipped("tgi").rules("chat")

    assert rules.server == "tgi"
    assert rules.rename["max_completion_tokens"] == "max_tokens"
    assert rules.unsupported == {"logit_bias"}
    assert rules.clamp == {"top_logprobs": Bounds(0, 5)}
    assert rules.omit == {"top_p": (1,)}
    assert (rules.fan_out, rules.accepts) == (True, None)


def test_a_closed_list_is_a_set():
    accepts = shipped("transformers").rules("chat").accepts

    assert accepts is not None
    assert {"messages", "max_tokens"} <= accepts
    assert "n" not in accepts


def test_of_an_unknown_server_nothing_is_said():
    assert UNKNOWN.rules("chat") == Rules()
    assert UNKNOWN.answers == Dialect(name="x").answers
