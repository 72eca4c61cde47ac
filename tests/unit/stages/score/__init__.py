"""Tests of gateway.stages.score."""
