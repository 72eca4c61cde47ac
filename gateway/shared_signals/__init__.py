"""Shared Signals: what identity providers say about their users after a token was issued.

A receiver of the OpenID Shared Signals Framework 1.0 with CAEP 1.0 and RISC 1.0 events, by push (RFC 8935)
and poll (RFC 8936). Security event tokens are verified as strictly as access tokens and become
revocations; what they cannot do is let anybody in: the most that a signal lifts is a lock by the same
transmitter. START READING IN `receiver`.
"""
