from harness.reporting.sidecar import SidecarFacts, sidecar_facts
from proxy.testing import ModelServer, Reply


async def test_both_documents_are_asked_for():
    with ModelServer() as server:
        server.on("/-/runs/quiz-1", Reply(json={"run": "quiz-1"}))
        server.on("/-/config", Reply(json={"fingerprint": "f"}))
        assert await sidecar_facts(server.url, "quiz-1") == SidecarFacts({"run": "quiz-1"}, {"fingerprint": "f"})


async def test_what_is_not_answered_is_left_empty():
    with ModelServer() as server:
        server.on("/-/runs/quiz-1", Reply(json=[1]))
        server.on("/-/config", Reply(body=b"not JSON"))
        assert await sidecar_facts(server.url, "quiz-1") == SidecarFacts()
    assert await sidecar_facts(server.url, "quiz-1") == SidecarFacts()
