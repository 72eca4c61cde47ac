"""Doubles of what the line needs from the outside: small, honest, shared."""
