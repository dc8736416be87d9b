"""Runs in bfcl-eval's environment, not in ours: enters a model into its list and calls its command line.

    python bfcl_entry.py HANDLER MODEL CATEGORIES LIMIT generate|evaluate [its options …]

CATEGORIES are joined by `+`. A LIMIT above 0 takes the first entries of each, 0 all of them.
"""

import json
import sys
from importlib import import_module
from pathlib import Path

_HANDLERS = {
    "chat": ("openai_completion", "OpenAICompletionsHandler"),
    "responses": ("openai_response", "OpenAIResponsesHandler"),
    "prompt": ("openai_completion", "OpenAICompletionsHandler"),
}


def main(handler: str, model: str, categories: str, limit: int, rest: list[str]) -> None:
    """Call bfcl-eval."""
    models = import_module("bfcl_eval.constants.model_config")
    module, name = _HANDLERS[handler]
    models.MODEL_CONFIG_MAPPING[model] = models.ModelConfig(
        model_name=model,
        display_name=model,
        url="",
        org="",
        license="",
        model_handler=getattr(import_module(f"bfcl_eval.model_handler.api_inference.{module}"), name),
        is_fc_model=handler != "prompt",
        underscore_to_dot=handler != "prompt",
    )
    command, *options = rest
    wanted = categories.replace("+", ",")
    argv = [command, "--model", model, "--test-category", wanted, *options]
    if limit:
        argv += ["--run-ids"] if command == "generate" else ["--partial-eval"]
        write_ids(wanted.split(","), limit)
    import_module("bfcl_eval.__main__").cli(argv)


def write_ids(categories: list[str], limit: int) -> None:
    """Name the first entries of each category in the file that `--run-ids` reads."""
    settings, utils = import_module("bfcl_eval.constants.eval_config"), import_module("bfcl_eval.utils")
    chosen = {
        category: [entry["id"] for entry in utils.load_dataset_entry(category)[:limit]]
        for category in utils.parse_test_category_argument(categories)
    }
    Path(settings.TEST_IDS_TO_GENERATE_PATH).write_text(json.dumps(chosen), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])
