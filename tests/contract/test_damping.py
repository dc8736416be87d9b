"""A harness that hammers an error, through the whole sidecar."""

import httpx
import pytest

from proxy.testing import Reply

URL = "/v1/chat/completions"
BODY = {"model": "m", "temperature": 0, "messages": [{"role": "user", "content": "a"}]}
REFUSED = Reply(status=400, json={"error": {"message": "'n' is not supported"}}, headers={"x-request-id": "abc"})


@pytest.fixture
def refusing(model_server):
    server = model_server()
    server.on(URL, REFUSED)
    return server


def hammer(url: str, times: int = 40, **body: object) -> list[httpx.Response]:
    with httpx.Client(base_url=url) as client:
        return [client.post(URL, json={**BODY, **body}) for _ in range(times)]


@pytest.mark.parametrize("body", [{}, {"temperature": 1}, {"stream": True}], ids=["pooled", "sampled", "streamed"])
@pytest.mark.parametrize("interceptors", [None, ["caching"], ["request_logging"]])
def test_most_of_it_never_reaches_the_model_server(refusing, sidecar, interceptors, body) -> None:
    running = sidecar(refusing, interceptors=interceptors)
    answers = hammer(running.url, **body)
    damped = [answer.headers.get("x-evalside-damped") for answer in answers]
    assert damped[:3] == [None] * 3
    assert len(refusing.generation_requests) == damped.count(None) < 20
    assert {(answer.status_code, answer.content, answer.headers["x-request-id"]) for answer in answers} == {
        (400, REFUSED.content, "abc")
    }
    assert all(
        ("x-evalside-upstream-ms" in answer.headers) == (was is None)
        for answer, was in zip(answers, damped, strict=True)
    )


@pytest.mark.parametrize("interceptors", [[], [{"name": "damping", "enabled": False}, "caching"]], ids=["relay", "off"])
def test_it_can_be_switched_off(refusing, sidecar, interceptors) -> None:
    running = sidecar(refusing, interceptors=interceptors)
    answers = hammer(running.url, 12)
    assert len(refusing.generation_requests) == 12
    assert all("x-evalside-damped" not in answer.headers for answer in answers)


def test_it_is_shown_in_log_statistics_and_findings(refusing, sidecar) -> None:
    running = sidecar(refusing)
    answers = hammer(f"{running.url}/-/runs/r1")
    live = len(refusing.generation_requests)
    run = httpx.get(f"{running.url}/-/runs/r1").json()
    items = httpx.get(f"{running.url}/-/runs/r1/exchanges?limit=100").json()["items"]
    reasons = [item["reason"] for item in items]
    assert reasons.count("the model server's last failure was repeated (damping)") == len(answers) - live > 20
    assert (run["statistics"]["count"], run["statistics"]["damped"]) == (live, len(answers) - live)
    assert run["statistics"]["status_codes"] == {"400": live}
    [finding] = [found for found in run["findings"] if found["finding"] == "damped"]
    assert finding["count"] == len(answers) - live
    assert "The harness hammers an error" in finding["text"]


def test_retries_of_many_requests_that_are_refused_alike_never_reach_the_model_server(refusing, sidecar) -> None:
    running = sidecar(refusing)
    asked = [{"messages": [{"role": "user", "content": f"question {number}"}]} for number in range(8)]
    with httpx.Client(base_url=running.url) as client:
        first, again = ([client.post(URL, json={**BODY, **body}) for body in asked] for _ in range(2))
        live = [answer.headers.get("x-evalside-damped") for answer in (*first, *again)].count(None)
    assert len(refusing.generation_requests) == live < 2 * len(asked)
    assert all("x-evalside-damped" not in answer.headers for answer in first)
    assert {(answer.status_code, answer.content) for answer in (*first, *again)} == {(400, REFUSED.content)}


def test_a_recovery_is_seen_within_a_second(refusing, sidecar) -> None:
    running = sidecar(refusing)
    hammer(running.url, 10)
    refusing.on(URL, None)
    with httpx.Client(base_url=running.url) as client:
        answers = [client.post(URL, json=BODY)]
        while answers[-1].status_code != 200:
            answers.append(client.post(URL, json=BODY))
    assert answers[-1].json()["choices"]
    assert "x-evalside-damped" not in answers[-1].headers
