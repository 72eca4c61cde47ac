"""The YAML file: strict, typed, and every error at once with its place and its mend.

What it decides: whether a configuration may be run at all. What it never does: open a socket, read a
secret, or guess what was meant.
"""
