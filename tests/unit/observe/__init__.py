"""Tests of gateway.observe."""
