"""Other people's harnesses: each is run unmodified, in an environment of its own, against the sidecar's run URL."""
