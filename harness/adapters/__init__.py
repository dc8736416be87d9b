"""What the sidecar of a run does to its requests and answers."""
