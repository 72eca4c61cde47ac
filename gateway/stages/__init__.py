"""The verbs of the line, in path order. Pure decisions: no I/O, no clock, no logging."""
