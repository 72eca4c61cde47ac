"""Tests of gateway.config.checks."""
