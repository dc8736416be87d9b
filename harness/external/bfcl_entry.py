"""Runs in bfcl-eval's environment, not in ours: calls its command line with a list of models that has ours alone.

    python bfcl_entry.py HANDLER MODEL CATEGORIES LIMIT generate|evaluate [its options …]

CATEGORIES are joined by `+`. A LIMIT above 0 takes the first entries of each, 0 all of them. bfcl-eval's own list
imports the client of every vendor on its leaderboard; none of them is needed to ask an OpenAI-compatible endpoint.
"""

import json
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType, SimpleNamespace

_LIST = "bfcl_eval.constants.model_config"
_HANDLERS = {
    "chat": ("openai_completion", "OpenAICompletionsHandler"),
    "responses": ("openai_response", "OpenAIResponsesHandler"),
    "prompt": ("openai_completion", "OpenAICompletionsHandler"),
}


def main(handler: str, model: str, categories: str, limit: int, rest: list[str]) -> None:
    """Call bfcl-eval."""
    entry = SimpleNamespace(
        model_name=model,
        display_name=model,
        url="",
        org="",
        license="",
        model_handler=None,
        input_price=None,
        output_price=None,
        is_fc_model=handler != "prompt",
        underscore_to_dot=handler != "prompt",
    )
    sys.modules[_LIST] = listing(model, entry)
    module, name = _HANDLERS[handler]
    entry.model_handler = getattr(import_module(f"bfcl_eval.model_handler.api_inference.{module}"), name)
    command, *options = rest
    wanted = categories.replace("+", ",")
    argv = [command, "--model", model, "--test-category", wanted, *options]
    if limit:
        argv += ["--run-ids"] if command == "generate" else ["--partial-eval"]
        write_ids(wanted.split(","), limit)
    import_module("bfcl_eval.__main__").cli(argv)


def listing(model: str, entry: object) -> ModuleType:
    """Stands for its module with the list of models, of which others read this name alone.

    The checker makes a folder's name of the model's name, and that into a name again, with / for every _.
    """
    module = ModuleType(_LIST)
    vars(module)["MODEL_CONFIG_MAPPING"] = {model: entry, model.replace("_", "/"): entry}
    return module


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
