"""The cache: what may be shared, where it is kept, and who asks the model server for it."""
