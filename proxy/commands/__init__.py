"""Sub-commands of `evalside` that look into a store; each module is one of them, or what they share."""
