"""Pure functions on the OpenAI formats: routes, streams, end rules, cache keys. No IO."""
