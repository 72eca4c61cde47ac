"""How much may they use: tests of the reserve stage."""
