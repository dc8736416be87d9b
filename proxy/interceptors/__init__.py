"""The built-in interceptors: one file, one class, one config model each."""
