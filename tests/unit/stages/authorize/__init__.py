"""May they: tests of the authorize stage."""
