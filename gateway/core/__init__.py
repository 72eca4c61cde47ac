"""Nouns and rules of the domain. Standard library only; no I/O, no clock, no logging."""
