"""The checks, one file per group. They are generators without IO: they yield requests and are sent answers."""
