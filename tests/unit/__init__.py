"""Tests of one part each, laid out as the sources are."""
