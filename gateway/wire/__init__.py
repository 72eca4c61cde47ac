"""HTTP/1.1 on asyncio protocols over llhttp: both sides of every request. Knows no security.

Listener and `Downstream` face the client, `Pool` and `Upstream` face the backends; `Driver` runs the
line between them. docs/behaviour.md is the specification.
"""
