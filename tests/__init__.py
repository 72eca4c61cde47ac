"""Tests of the gateway: unit, contract, end to end."""
