"""Reads answers out of generations, compares them, and says how sure a score is: pure functions, no IO."""
