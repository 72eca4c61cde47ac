"""Tests of `gateway.credentials`."""
