"""Where keys, certificates and secrets come from. Does I/O; decides nothing about a request."""
