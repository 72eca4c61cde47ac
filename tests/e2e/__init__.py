"""The gateway as operators and clients meet it: real processes, real sockets, real clients."""
