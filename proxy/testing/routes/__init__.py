"""What the model server answers, one module per family of routes: pure functions from request bodies to replies."""
