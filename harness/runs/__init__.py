"""The runs of a working directory: what they were, how far they are, who is running them."""
