"""Model servers that the harness starts itself."""
