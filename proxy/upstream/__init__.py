"""The model server's side: the terminal of the pipeline and the transport under it."""
