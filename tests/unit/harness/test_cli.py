import os
import signal

import pytest
import typer
from typer.testing import CliRunner

from harness.launcher.cli import run
from proxy.testing import Reply

CHAT = "/v1/chat/completions"
pytestmark = pytest.mark.usefixtures("standin")
app = typer.Typer()
app.command("run")(run)


@app.callback()
def _main() -> None:
    """Two commands, as in the real program, so that `run` is named."""


def invoke(*arguments: str):
    result = CliRunner().invoke(app, ["run", *arguments])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


def test_a_run_shows_plain_progress_and_a_summary(server, said, tmp_path):
    server.on(CHAT, said("5"))
    code, output = invoke("-t", "smoke", "--url", f"{server.url}/v1", "--output-dir", "out", "--limit-samples", "4",
                          "--parallelism", "2", "--model-id", "m")  # fmt: skip
    assert code == 0
    assert "smoke 4/4, " in output
    for part in ("accuracy", "0.250 ± 0.250", "cache hits", "upstream calls", "out/results.yml", "out/samples.jsonl"):
        assert part in output
    assert (tmp_path / "out" / "results.yml").exists()
    assert server.generation_requests[0].json["model"] == "m"


def test_a_share_of_the_samples_and_the_type(server, said):
    server.on("/v1/completions", said("5"))
    code, _ = invoke("-t", "smoke", "--url", server.url, "--limit-samples", "0.04", "--type", "completions")
    assert code == 0
    assert len(server.generation_requests) == 2


def test_errors_of_single_samples_fail_the_command_and_are_named(server, said, refused):
    server.on("/v1/models", Reply(status=404))
    server.enqueue(refused(400, "too long"))
    server.on(CHAT, said("5"))
    code, output = invoke("-t", "smoke", "--url", server.url, "--limit-samples", "3", "--parallelism", "1")
    assert code == 1
    assert "3, 1 without an answer" in output
    assert "error: 1 samples got no answer; the first, smoke-001: HTTP 400: too long" in output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-t", "smok"], "unknown task 'smok'; did you mean 'smoke'?"),
        (["-t", "smoke", "--limit-samples", "-5"], "limit_samples -5 asks for no samples"),
        (["-t", "smoke", "--limit-samples", "many"], "limit_samples 'many' is neither"),
        (["-t", "smoke", "--limit-samples", "2.5"], "limit_samples 2.5 is not a share"),
        (["-t", "smoke", "--parallelism", "0"], "parallelism: Input should be greater than or equal to 1 (got 0)"),
        (["-t", "smoke", "--type", "chatt"], "unknown endpoint type 'chatt'; did you mean 'chat'?"),
        (
            ["-t", "smoke", "--api-key-name", "NO_SUCH_VARIABLE"],
            "'NO_SUCH_VARIABLE', named by api_key_name, is not set",
        ),
        (["-t", "smoke", "--api-key-name", "sk-123-456"], "not the name of an environment variable"),
    ],
)
def test_wrong_usage_is_explained(options, message):
    code, output = invoke("--url", "http://127.0.0.1:9/v1", *options)
    assert code == 2
    assert "error: " in output
    assert message in output
    assert "sk-123-456" not in output


def test_an_unreachable_endpoint_is_explained(server):
    server.stop()
    code, output = invoke("-t", "smoke", "--url", server.url)
    assert code == 1
    assert "error: the endpoint cannot be reached" in output
    assert "Check that the model server runs" in output


@pytest.mark.parametrize(("status", "advice"), [(401, "--api-key-name VAR"), (404, "Check the URL's path")])
def test_a_refusal_is_explained(server, refused, status, advice):
    server.on(CHAT, refused(status, "go away"))
    code, output = invoke("-t", "smoke", "--url", server.url)
    assert code == 1
    assert "go away" in output
    assert advice in output


def test_ctrl_c_says_what_was_done_and_exits_130(server, said):
    def answer(_request):
        if len(server.generation_requests) == 4:
            os.kill(os.getpid(), signal.SIGINT)
            return said("5", delay=5)
        return said("5")

    server.on(CHAT, answer)
    code, output = invoke("-t", "smoke", "--url", server.url, "--parallelism", "1")
    assert code == 130
    assert "interrupted: 3 of 48 samples were answered. `evalside resume " in output


def test_a_choice_that_only_the_user_can_make_is_wrong_usage(server):
    server.on("/v1/models", Reply(json={"data": [{"id": "a"}, {"id": "b"}]}))
    code, output = invoke("-t", "smoke", "--url", server.url)
    assert code == 2
    assert "the endpoint has 2 models; choose one with model_id (--model-id): a, b" in output
