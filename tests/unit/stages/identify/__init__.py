"""Tests of `gateway.stages.identify`."""
