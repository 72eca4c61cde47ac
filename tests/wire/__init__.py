"""The wire on real sockets."""
