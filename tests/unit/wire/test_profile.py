import json

import pytest

from proxy.wire.profile import FORMAT, UNASKED, Capability, Profile, Verdict, read_profile, write_profile

PROFILE = Profile(
    server="llama.cpp",
    url="http://localhost:8080/v1",
    identity="http://localhost:8080/v1 llama.cpp 0123",
    probed_at="2026-11-24T20:00:00Z",
    model="smollm2",
    context_length=2048,
    reasoning_field=None,
    capabilities={
        "chat.n": Capability(Verdict.SUPPORTED, "2 choices", ("pass@k",)),
        "completions.echo": Capability(Verdict.IGNORED, "text 'b'", ("loglikelihood",)),
        "embeddings.works": Capability(Verdict.REJECTED, "501"),
        "tokenize.vllm": Capability(Verdict.WRONG, '{"tokens":[]}'),
        "chat.seed": Capability(Verdict.UNKNOWN),
    },
)


def document(**changes):
    return json.loads(write_profile(PROFILE)) | changes


def capabilities(**changes):
    return {"chat.n": {"verdict": "supported", "evidence": "", "needed_by": []} | changes}


def test_what_is_written_is_read():
    assert read_profile(write_profile(PROFILE)) == PROFILE
    bare = Profile("unknown", "http://h/v1", None, "2026-11-24T20:00:00Z", None, None, "reasoning")
    assert read_profile(write_profile(bare)) == bare


def test_equal_profiles_are_equal_files():
    turned = Profile(
        **{name: getattr(PROFILE, name) for name in PROFILE.__slots__ if name != "capabilities"},
        capabilities=dict(reversed(list(PROFILE.capabilities.items()))),
    )
    assert write_profile(turned) == write_profile(PROFILE)


def test_the_file_is_the_documented_one():
    assert document()["format"] == FORMAT
    assert document()["capabilities"]["chat.n"] == {
        "verdict": "supported", "evidence": "2 choices", "needed_by": ["pass@k"],
    }  # fmt: skip


def test_a_verdict_is_looked_up_by_name():
    assert PROFILE.verdict("chat.n") is Verdict.SUPPORTED
    assert PROFILE.supports("chat.n")
    assert not PROFILE.lacks("chat.n")
    assert PROFILE.capability("chat.tools") is UNASKED


@pytest.mark.parametrize(
    ("name", "lacks"),
    [
        ("completions.echo", True),
        ("embeddings.works", True),
        ("tokenize.vllm", True),
        ("chat.seed", False),
        ("a.b", False),
    ],
)
def test_what_is_unknown_is_no_lack(name, lacks):
    assert PROFILE.lacks(name) is lacks
    assert not PROFILE.supports(name)


def test_what_a_kind_of_task_misses_is_of_its_route():
    assert list(PROFILE.missing("loglikelihood", "completions")) == ["completions.echo"]
    assert PROFILE.missing("loglikelihood", "chat") == {}
    assert PROFILE.missing("pass@k", "chat") == {}


def test_capabilities_are_found_by_verdict():
    assert list(PROFILE.found(Verdict.WRONG)) == ["tokenize.vllm"]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{", "the profile is not JSON"),
        (b"[1]", r"the profile is \[1\], and it should be an object"),
        (b" " * (1024 * 1024 + 1), "has 1,048,577 bytes"),
    ],
)
def test_what_is_no_profile_is_refused(raw, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_profile(raw)
    assert "evalside probe" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": 2}, "field 'format' of the profile is 2, and this evalside reads 1"),
        ({"format": True}, "field 'format' of the profile is True"),
        ({"sever": "x"}, "unknown field 'sever' in the profile; did you mean 'server'?"),
        ({"server": None}, "field 'server' of the profile is None, and it should be a string"),
        ({"model": 1}, "field 'model' of the profile is 1, and it should be a string or null"),
        ({"context_length": 0}, "field 'context_length' of the profile is 0, and it should be a number of tokens"),
        ({"context_length": True}, "field 'context_length' of the profile is True"),
        ({"url": ["x" * 100]}, "field 'url' of the profile is .{60}…, and it should"),
        ({"capabilities": []}, r"field 'capabilities' of the profile is \[\]"),
        ({"capabilities": {"Chat n": {}}}, "names 'Chat n', and names are like 'chat.seed'"),
        (
            {"capabilities": {"chat.n": 1}},
            "field 'capabilities.chat.n' of the profile is 1, and it should be an object",
        ),
        ({"capabilities": capabilities(verdict="good")}, "'capabilities.chat.n.verdict' of the profile is 'good'"),
        ({"capabilities": capabilities(verdict=["supported"])}, "it should be one of supported, ignored, rejected, "),
        ({"capabilities": capabilities(needed_by="x")}, "'x', and it should be a list of strings"),
        ({"capabilities": capabilities(needed_by=[1])}, r"\[1\], and it should be a list of strings"),
        ({"capabilities": capabilities(more=1)}, "unknown field 'capabilities.chat.n.more'"),
    ],
)
def test_a_field_that_is_wrong_is_named(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        read_profile(json.dumps(document(**changes)).encode())
    assert "evalside probe" in str(caught.value)


@pytest.mark.parametrize("name", ["server", "capabilities"])
def test_a_field_that_is_missing_is_named(name):
    rest = document()
    del rest[name]
    with pytest.raises(ValueError, match=f"field '{name}' is missing in the profile"):
        read_profile(json.dumps(rest).encode())
