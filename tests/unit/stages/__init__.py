"""Tests of gateway.stages."""
