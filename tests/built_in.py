"""Facts about the built-in interceptors that several tests share."""

TRANSLATORS = frozenset({"normalize", "responses_to_chat", "chat_to_completions", "completions_to_chat"})
"""What turns a request into another server's, or another route's, form: their tests hold what is said of the others."""

OPTIONS = {
    "chat_to_completions": {"chat_template": "{{ messages[0].content }}"},
    "completions_to_chat": {"user_template": "{{ prompt }}"},
    "drop_params": {"params": ["seed"]},
    "http_pairs_dump": {"dump_path": "pairs.json"},
    "limit": {"max_concurrent": 8},
    "progress_tracking": {"output_dir": "out"},
    "system_message": {"system_message": "S"},
}
"""The smallest ones, of those that need some."""
