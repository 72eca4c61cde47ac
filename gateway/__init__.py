"""Zero-Trust Model Gateway: every request to a model verified as if it came from an open network."""

__version__ = "0.1.0"
