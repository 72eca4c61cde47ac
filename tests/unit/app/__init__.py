"""The composition root: compiled, opened, drained and closed, in the process of the tests."""
