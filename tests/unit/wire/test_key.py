import copy
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.core.document import parse
from proxy.wire.key import (
    DENIED,
    KEY_HEADERS,
    NUMERIC,
    PROMPT,
    KeyInput,
    cache_key,
    canonical,
    digest,
    is_deterministic,
    prompt_hash,
)

CAPTURES = Path(__file__).parents[4] / "shared" / "reference" / "captures"


def make_input(**changes):
    fields = {
        "identity": "http://localhost:8080/v1",
        "method": "POST",
        "path": b"/v1/chat/completions",
        "query": b"",
        "headers": [],
    }
    return KeyInput(**(fields | changes))


def key_of(body, **changes):
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return cache_key(make_input(**changes), canonical(parse(raw).value)).hex()


CHAT = {
    "model": "llama-3.1-8b",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "é 😀"}]},
    ],
    "temperature": 0,
    "max_tokens": 16,
    "stop": ["\n"],
    "tools": [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"a": {}, "b": {}}}}}],
}
COMPLETION = {"model": "m", "prompt": [[1, 2], [3]], "logprobs": 1, "echo": True, "max_tokens": 0, "seed": None}


@pytest.mark.parametrize(
    ("body", "changes", "key"),
    [
        (CHAT, {}, "3508a72fd72038f96de55f515004d951f119d7190370ecbebd72ff9ec0e725a0"),
        (COMPLETION, {"path": b"/v1/completions"}, "37b8069c4ff35e6c146e19b8c357f367d54e6dc58e5682e5fdc711f371abe825"),
        (
            b'{"input":"x","big":18446744073709551616,"f":1.50,"neg":-0.0,"far":1e400}',
            {"path": b"/v1/embeddings", "query": b"q=1", "headers": [(b"OpenAI-Beta", b"a"), (b"accept", b"*/*")]},
            "81ff37a7ab82450dba9e51e85a5c3581c2f9bcc79ae67d4751515f6bee929d1f",
        ),
        (b"{}", {"identity": ""}, "696c751c886d2f1f5bea14d5d83e633af7a902ab413d93d52fe5d257087ad17f"),
    ],
)
def test_golden_keys(body, changes, key):
    """A change of these orphans every stored answer: raise KEY_VERSION, say so in the changelog, and pin anew."""
    assert key_of(body, **changes) == key


NAMES = st.text(st.characters(codec="utf-8"), max_size=5)
LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | NAMES
VALUES = st.recursive(
    LEAVES,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(NAMES, children, max_size=3),
    max_leaves=10,
)
KNOWN = st.sampled_from([*sorted(DENIED), *sorted(NUMERIC), "messages", "tools", "model"])
BODIES = st.dictionaries(NAMES | KNOWN, VALUES, min_size=1, max_size=5)


def paths_of(value, path=()):
    """Every place in a document, as the names and indexes that lead there."""
    members = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, member in members:
        yield (*path, name)
        yield from paths_of(member, (*path, name))


def replaced(document, path, value):
    changed = copy.deepcopy(document)
    holder = changed
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    return changed


def spelled(value):
    """What a JSON text says: `1` and `1.0` differ, `True` is not 1, order counts."""
    return json.dumps(value)


@given(st.data(), BODIES)
def test_changing_any_value_at_any_depth_changes_the_key_unless_it_is_denied(data, body):
    path = data.draw(st.sampled_from(sorted(paths_of(body), key=repr)))
    value = data.draw(VALUES)
    changed = replaced(body, path, value)
    before, after = spelled(body), spelled(changed)
    same = before == after or path[0] in DENIED
    if len(path) == 1 and path[0] in NUMERIC and not same:
        old = body[path[0]]
        same = is_number(old) and is_number(value) and old == value
    if not same and is_only_a_new_order_of_a_message(body, changed):
        same = True
    assert (key_of(before.encode()) == key_of(after.encode())) is same


def is_number(value):
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_only_a_new_order_of_a_message(body, changed):
    def sorted_messages(document):
        messages = document.get("messages")
        if not isinstance(messages, list):
            return document
        ordered = [dict(sorted(item.items())) if isinstance(item, dict) else item for item in messages]
        return {**document, "messages": ordered}

    return spelled(sorted_messages(body)) == spelled(sorted_messages(changed))


@given(BODIES, NAMES, VALUES)
def test_adding_a_field_changes_the_key_unless_it_is_denied(body, name, value):
    rest = {key: item for key, item in body.items() if key != name}
    assert (key_of(rest) == key_of({**rest, name: value})) is (name in DENIED)


@given(st.data(), BODIES)
def test_the_order_of_the_top_level_is_ignored(data, body):
    shuffled = dict(data.draw(st.permutations(list(body.items()))))
    assert key_of(body) == key_of(shuffled)


@given(st.data(), st.lists(st.dictionaries(NAMES, VALUES, max_size=4) | NAMES, max_size=3))
def test_the_order_of_a_messages_own_keys_is_ignored(data, messages):
    shuffled = [
        dict(data.draw(st.permutations(list(message.items())))) if isinstance(message, dict) else message
        for message in messages
    ]
    assert key_of({"messages": messages}) == key_of({"messages": shuffled})


@given(
    st.dictionaries(NAMES, VALUES, min_size=2, max_size=4),
    st.sampled_from(["tools", "response_format", "guided_json", "chat_template_kwargs", "messages.content"]),
)
def test_the_order_of_a_nested_object_counts(schema, where):
    def body(nested):
        return {"messages": [{"content": nested}]} if where == "messages.content" else {where: nested}

    assert key_of(body(schema)) != key_of(body(dict(reversed(schema.items()))))


@given(st.lists(NAMES, min_size=2, max_size=4, unique=True))
def test_the_order_of_messages_counts(contents):
    messages = [{"role": "user", "content": content} for content in contents]
    assert key_of({"messages": messages}) != key_of({"messages": messages[::-1]})


@pytest.mark.parametrize("name", sorted(NUMERIC))
@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("1", "1.0", True),
        ("0", "-0.0", True),
        ("0.1", "0.10", True),
        ("1e2", "100", True),
        ("1e-7", "0", False),
        ("1", "true", False),
        ("1", '"1"', False),
        ("0", "null", False),
        ("1e400", "1e401", False),
    ],
)
def test_numbers_that_count_by_value_do_so_at_the_top_level_only(name, first, second, same):
    def key(text, template):
        return key_of(template.replace("NAME", name).replace("VALUE", text).encode())

    top, nested = '{"NAME": VALUE}', '{"extra": {"NAME": VALUE}}'
    assert (key(first, top) == key(second, top)) is same
    assert key(first, nested) != key(second, nested)


@pytest.mark.parametrize("name", ["seed", "max_tokens", "n", "top_k", "unknown"])
def test_other_numbers_count_as_they_are_written(name):
    assert key_of(f'{{"{name}": 1}}'.encode()) != key_of(f'{{"{name}": 1.0}}'.encode())


@pytest.mark.parametrize(
    "changes",
    [
        {"identity": "other"},
        {"method": "PUT"},
        {"path": b"/v1/completions"},
        {"query": b"a=1"},
        *({"headers": [(name, b"x")]} for name in KEY_HEADERS),
    ],
)
def test_everything_beside_the_body_is_in_the_key(changes):
    assert key_of(CHAT, **changes) != key_of(CHAT)


def test_key_headers_count_in_any_case_and_the_values_of_one_in_order():
    first, second = (b"OpenAI-Beta", b"a"), (b"openai-beta", b"b")
    project = (b"openai-project", b"p")
    assert key_of(CHAT, headers=[project, first, second]) == key_of(CHAT, headers=[first, second, project])
    assert key_of(CHAT, headers=[first, second]) != key_of(CHAT, headers=[second, first])


@given(st.binary(max_size=5), st.binary(max_size=5))
def test_headers_that_are_not_listed_stay_out(name, value):
    assert key_of(CHAT, headers=[(b"x-" + name, value), (b"authorization", value)]) == key_of(CHAT)
    assert cache_key(make_input(headers=[(b"X-Own", b"1")]), b"{}", (b"x-own",)) != cache_key(make_input(), b"{}")


@given(st.lists(st.binary(max_size=4), max_size=4), st.lists(st.binary(max_size=4), max_size=4))
def test_no_two_lists_of_parts_run_together(first, second):
    assert (digest(first) == digest(second)) is (first == second)


def test_a_comparison_may_keep_what_is_denied():
    assert canonical({"user": "a", "n": 1}) == b'{"n":1}'
    assert canonical({"user": "a", "n": 1}, denied=frozenset()) == b'{"n":1,"user":"a"}'


def test_what_json_cannot_carry_has_no_key():
    with pytest.raises(ValueError, match="surrogates"):
        canonical(parse(b'{"a": "\\ud800"}').value)


@pytest.mark.parametrize(
    ("temperature", "greedy"),
    [
        (b"0", True),
        (b"0.0", True),
        (b"-0", True),
        (b"0e5", True),
        (b"-0.00E-7", True),
        (b"0e-400", True),
        (b"1e-7", False),
        (b"1e-400", False),
        (b"-0.001E-400", False),
        (b"0.5", False),
        (b"1", False),
        (b"null", False),
        (b"false", False),
        (b'"0"', False),
        (b"[0]", False),
    ],
)
def test_only_the_number_zero_is_greedy(temperature, greedy):
    assert is_deterministic(parse(b'{"temperature": ' + temperature + b"}").value) is greedy


def test_a_computed_zero_is_greedy_too():
    assert is_deterministic({"temperature": 0.0})


def test_a_request_without_a_temperature_is_sampled():
    assert not is_deterministic({"top_k": 1})


def captured():
    for file in sorted(CAPTURES.glob("*.jsonl")):
        for line in file.read_text().splitlines():
            record = json.loads(line)
            if record.get("method") == "POST" and isinstance(record.get("body"), dict):
                yield record["path"], record["body"]


@pytest.mark.skipif(
    not CAPTURES.is_dir(), reason="the captured requests of real harnesses are not beside this checkout"
)
def test_no_two_different_requests_of_real_harnesses_share_a_key():
    by_key: dict[str, tuple[str, str]] = {}
    for path, body in captured():
        kept = {name: value for name, value in body.items() if name not in DENIED}
        said = (path, json.dumps(kept, sort_keys=True))
        assert by_key.setdefault(key_of(body, path=path.encode()), said) == said
    assert len(by_key) > 20


@pytest.mark.parametrize(
    "change", [{"temperature": 1}, {"model": "other"}, {"seed": 3}, {"stream": True}, {"tools": []}]
)
def test_the_prompt_hash_leaves_out_how_it_is_asked(change):
    assert prompt_hash({**CHAT, **change}) == prompt_hash(CHAT)


@pytest.mark.parametrize("name", PROMPT)
def test_the_prompt_hash_holds_what_is_asked(name):
    hashes = {prompt_hash({"model": "m", **fields}) for fields in ({}, {name: "a"}, {name: ["a"]}, {name: "b"})}
    assert len(hashes) == 4
    assert {len(found) for found in hashes} == {8}


def test_the_prompt_hash_ignores_the_order_that_the_key_ignores():
    one = {"prompt": "p", "messages": [{"role": "user", "content": "a"}]}
    other = {"messages": [{"content": "a", "role": "user"}], "prompt": "p"}
    assert prompt_hash(one) == prompt_hash(other)


def test_a_prompt_that_json_cannot_carry_has_no_hash():
    with pytest.raises(ValueError, match="surrogates"):
        prompt_hash(parse(b'{"prompt": "\\ud800"}').value)
