import pytest

from proxy.core.document import parse
from proxy.core.errors import NotEditable
from proxy.wire.parameters import ASKED, Bounds, Rules, asks_for_nothing, choices_asked, normalized, refusal


def rules(**fields):
    return Rules(server="one", **fields)


class TestRenaming:
    def test_a_parameter_gets_the_servers_name(self):
        found = normalized({"a": 1, "max_new_tokens": 5}, rules(rename={"max_new_tokens": "max_tokens"}))

        assert found.fields == {"a": 1, "max_tokens": 5}
        assert found.reasons == {"max_new_tokens": "one calls it max_tokens", "max_tokens": "one calls it max_tokens"}

    def test_two_names_with_one_value_become_one(self):
        found = normalized({"b": 5, "a": 5}, rules(rename={"a": "b"}))

        assert found.fields == {"b": 5}

    def test_two_names_with_two_values_are_refused(self):
        with pytest.raises(NotEditable, match=r"'a' and 'b' are the same to the model server \(one\)"):
            normalized({"b": 5, "a": 6}, rules(rename={"a": "b"}))

    @pytest.mark.parametrize(
        ("document", "expected"), [({"a": None}, {}), ({"a": None, "b": 1}, {"b": 1}), ({"a": 1, "b": None}, {"b": 1})]
    )
    def test_null_is_nothing(self, document, expected):
        assert normalized(document, rules(rename={"a": "b"})).fields == expected

    def test_what_is_not_there_is_not_renamed(self):
        assert normalized({"c": 1}, rules(rename={"a": "b"})) == ({"c": 1}, {}, [])

    def test_only_the_top_level_is_looked_at(self):
        document = {"tools": [{"a": 1}], "messages": [{"a": 1, "content": "a"}]}

        found = normalized(document, rules(rename={"a": "b"}, unsupported=frozenset({"content"})))

        assert found.fields == document
        assert found.fields["tools"] is document["tools"]


class TestLeavingOut:
    def test_what_the_server_lacks_is_told(self):
        found = normalized({"top_k": 5, "seed": 1}, rules(unsupported=frozenset({"top_k"})))

        assert (found.fields, found.reasons, found.lacking) == ({"top_k": 5, "seed": 1}, {}, ["top_k"])

    def test_a_closed_list_lacks_every_other(self):
        found = normalized({"messages": [], "seed": 1, "foo": 2}, rules(accepts=frozenset({"seed"})))

        assert found.lacking == ["foo"]

    def test_what_a_request_is_nothing_without_is_never_lacking(self):
        document = dict.fromkeys(ASKED, 1)

        assert normalized(document, rules(accepts=frozenset())) == (document, {}, [])

    def test_what_asks_for_nothing_goes_without_a_word(self):
        found = normalized({"echo": False, "user": "u", "foo": None}, rules(accepts=frozenset()))

        assert (found.fields, found.lacking) == ({}, [])
        assert found.reasons == {
            "echo": "asks for nothing, and one does not take it",
            "user": "changes nothing that is generated, and one does not take it",
            "foo": "asks for nothing, and one does not take it",
        }

    def test_a_value_that_is_the_same_as_none_goes(self):
        found = normalized({"top_p": 1.0}, rules(omit={"top_p": (1,)}))

        assert found.fields == {}
        assert found.reasons == {"top_p": "the same as leaving it out, and one wants it left out"}
        assert normalized({"top_p": 0.5}, rules(omit={"top_p": (1,)})).fields == {"top_p": 0.5}

    def test_n_is_no_lack_where_choices_are_asked_for_one_by_one(self):
        assert normalized({"n": 2}, rules(accepts=frozenset(), fan_out=True)).lacking == []
        assert normalized({"n": 2}, rules(accepts=frozenset())).lacking == ["n"]

    @pytest.mark.parametrize(
        ("name", "value", "nothing"),
        [
            ("n", 1, True), ("n", True, False), ("n", 2, False), ("echo", False, True), ("echo", 0, False),
            ("logprobs", False, True), ("logprobs", 0, False), ("logit_bias", {}, True), ("stop", [], True),
            ("foo", None, True), ("foo", 1, False), ("metadata", {"a": 1}, True), ("top_p", 1.0, True),
            ("response_format", {"type": "text"}, True), ("response_format", {"type": "json_object"}, False),
        ],
    )  # fmt: skip
    def test_which_values_ask_for_nothing(self, name, value, nothing):
        assert asks_for_nothing(name, value) is nothing


class TestClamping:
    @pytest.mark.parametrize(
        ("value", "expected", "why"),
        [(3, 2, "at most 2 on one"), (-1.5, 0, "at least 0 on one"), (2, 2, None), (0.0, 0.0, None), (1, 1, None)],
    )
    def test_a_number_is_brought_into_its_range(self, value, expected, why):
        found = normalized({"temperature": value}, rules(clamp={"temperature": Bounds(0, 2)}))

        assert found.fields["temperature"] == expected
        assert found.reasons.get("temperature") == why

    @pytest.mark.parametrize("value", [True, "3", None, [3]])
    def test_what_is_no_number_stays(self, value):
        assert normalized({"a": value}, rules(clamp={"a": Bounds(high=2)})).fields == {"a": value}

    def test_a_range_may_have_one_end(self):
        assert normalized({"a": -9, "b": 9}, rules(clamp={"a": Bounds(high=2), "b": Bounds(low=2)})).reasons == {}

    def test_a_number_in_range_keeps_its_digits(self):
        document = parse(b'{"temperature": 0.70}').value

        found = normalized(document, rules(clamp={"temperature": Bounds(0, 2)}))

        assert found.fields["temperature"] is document["temperature"]

    @pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens", "max_output_tokens"])
    def test_a_limit_is_brought_into_the_context(self, name):
        assert normalized({name: 9000}, rules(context_length=2048)).fields == {name: 2048}
        assert normalized({name: 9000}, rules(context_length=2048, clamp={name: Bounds(high=10)})).fields == {name: 10}


def test_defaults_are_for_what_is_not_there():
    found = normalized({"a": None}, rules(defaults={"a": 1, "b": 2}))

    assert found.fields == {"a": None, "b": 2}
    assert found.reasons == {"b": "default on one"}


def test_without_rules_everything_passes():
    document = {"foo": 1, "n": 3}

    assert normalized(document, Rules()) == (document, {}, [])


@pytest.mark.parametrize(("n", "count"), [(3, 3), (1, 1), (0, 1), (True, 1), ("2", 1), (None, 1)])
def test_how_many_choices_are_asked_for(n, count):
    assert choices_asked({"n": n}) == count


def test_the_error_names_the_parameters_the_server_and_the_way_out():
    message = refusal(["a", "b"], "one").message

    assert "(one) does not take 'a', 'b'" in message
    assert "on_unsupported: drop" in message
