import pytest


@pytest.fixture
def pair(model_server, sidecar):
    """A model server and a sidecar with the default pipeline."""
    server = model_server()
    return server, sidecar(server)
