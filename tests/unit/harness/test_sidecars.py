import threading

import httpx
import pytest

from harness.api import ApiEndpoint
from harness.errors import StartError
from harness.sidecars import Sidecars

pytestmark = pytest.mark.usefixtures("standin")


def test_the_same_configuration_shares_one_and_others_have_their_own(server, tmp_path):
    endpoint = ApiEndpoint(url=server.url)
    with Sidecars(tmp_path) as sidecars:
        first = sidecars.url(endpoint)
        assert sidecars.url(ApiEndpoint(url=server.url)) == first
        second = sidecars.url(endpoint, {"log_level": "debug"})
        assert second != first
        sidecars.check()
        assert sorted(path.name for path in tmp_path.glob("*.log")) == ["sidecar-2.log", "sidecar.log"]
    for url in (first, second):
        with pytest.raises(httpx.ConnectError):
            httpx.get(url)


def test_threads_that_ask_at_once_get_the_same_one(server, tmp_path):
    found = []
    with Sidecars(tmp_path) as sidecars:
        threads = [
            threading.Thread(target=lambda: found.append(sidecars.url(ApiEndpoint(url=server.url)))) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(found)) == 1


def test_one_that_is_gone_is_told(server, tmp_path):
    with Sidecars(tmp_path) as sidecars:
        sidecars.url(ApiEndpoint(url=server.url))
        [running] = sidecars._running.values()
        assert running._process is not None
        assert running._process._process is not None
        running._process._process.kill()
        running._process._process.wait()
        with pytest.raises(StartError, match="the sidecar stopped in the middle of the run with exit code -9"):
            sidecars.check()
