from proxy.interceptors import caching, endpoint, payload_modifier, request_logging, response_logging, system_message
from proxy.plugins import BUILT_IN
from proxy.testing.contracts import InterceptorContract


class TestCaching(InterceptorContract):
    plugin = caching.PLUGIN
    observer = True


class TestEndpoint(InterceptorContract):
    plugin = endpoint.PLUGIN
    observer = True  # without a default model or aliases


class TestPayloadModifier(InterceptorContract):
    plugin = payload_modifier.PLUGIN
    observer = True  # without options


class TestPayloadModifierAtWork(InterceptorContract):
    plugin = payload_modifier.PLUGIN
    options = {"params_to_add": {"seed": 1}}  # noqa: RUF012 - the base class says ClassVar


class TestRequestLogging(InterceptorContract):
    plugin = request_logging.PLUGIN
    observer = True


class TestResponseLogging(InterceptorContract):
    plugin = response_logging.PLUGIN
    observer = True


class TestSystemMessage(InterceptorContract):
    plugin = system_message.PLUGIN
    options = {"system_message": "Be brief."}  # noqa: RUF012 - the base class says ClassVar


def test_every_built_in_interceptor_is_under_contract() -> None:
    tested = {kind.plugin.config for kind in InterceptorContract.__subclasses__()}
    modules = (caching, endpoint, payload_modifier, request_logging, response_logging, system_message)
    assert len(tested) == len(BUILT_IN) == len(modules)
