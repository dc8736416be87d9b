from harness.reporting.sidecar import SidecarFacts, latest_pass, sidecar_facts
from proxy.testing import ModelServer, Reply


async def test_both_documents_are_asked_for():
    with ModelServer() as server:
        server.on("/-/runs/quiz-1", Reply(json={"run": "quiz-1"}))
        server.on("/-/config", Reply(json={"fingerprint": "f"}))
        assert await sidecar_facts(server.url, "quiz-1", since=1) == SidecarFacts(
            {"run": "quiz-1"}, {"fingerprint": "f"}
        )
        assert server.requests[0].target == b"/-/runs/quiz-1?since=1"


async def test_what_is_not_answered_is_left_empty():
    with ModelServer() as server:
        server.on("/-/runs/quiz-1", Reply(json=[1]))
        server.on("/-/config", Reply(body=b"not JSON"))
        assert await sidecar_facts(server.url, "quiz-1", since=1) == SidecarFacts()
    assert await sidecar_facts(server.url, "quiz-1", since=1) == SidecarFacts()


async def test_a_run_that_is_not_there_yet_is_on_its_first_pass():
    with ModelServer() as server:
        server.on("/-/runs/old", Reply(json={"pass": 3}))
        server.on("/-/runs/new", Reply(status=404, json={"error": {}}))
        assert [await latest_pass(server.url, run) for run in ("old", "new")] == [3, 0]
