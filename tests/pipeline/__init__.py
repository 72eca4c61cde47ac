"""The line as a whole: order, failures, invariants."""
