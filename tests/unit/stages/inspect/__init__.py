"""Tests of what a body may be."""
