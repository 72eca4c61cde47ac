"""Nouns of the domain, each by itself."""
