"""The frame everything else hangs in: HTTP types, the onion, errors. Standard library and one JSON codec only."""
