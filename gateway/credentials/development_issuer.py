"""A token issuer for development, demos and tests: mints right tokens, and wrong ones on demand."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Final, Self, final

import msgspec

from gateway.credentials.clock import SystemClock
from gateway.credentials.files import PRIVATE, write_new
from gateway.credentials.signing import Signer, generate_key, key_set, private_pem

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from gateway.core.ports import Clock

CLOCK: Final = SystemClock()


@final
class DevelopmentIssuer:
    """A token issuer of one key: `issuer.key`, `issuer.json` and `jwks.json` in one directory.

    Make one with `create` or `load`.
    """

    __slots__ = ("audience", "clock", "directory", "issuer", "signer")

    def __init__(self, directory: Path, signer: Signer, issuer: str, audience: str, clock: Clock) -> None:
        self.directory = directory
        self.signer = signer
        self.issuer = issuer
        self.audience = audience
        self.clock = clock

    @classmethod
    def create(
        cls,
        directory: Path,
        algorithm: str = "ES256",
        *,
        issuer: str = "https://idp.example.org",
        audience: str = "model-gateway",
        kid: str | None = None,
        force: bool = False,
        clock: Clock = CLOCK,
    ) -> Self:
        """Generate a key and write the three files.

        Raises:
            ValueError: The algorithm is unknown.
            FileExistsError: A key is there, and `force` is False.
        """
        key = generate_key(algorithm)
        signer = Signer(key, algorithm, kid)
        about = {"issuer": issuer, "audience": audience, "algorithm": algorithm, "kid": signer.kid}
        write_new(directory / "issuer.key", private_pem(key), mode=PRIVATE, force=force)
        write_new(directory / "issuer.json", msgspec.json.encode(about), force=True)
        write_new(directory / "jwks.json", key_set(signer), force=True)
        return cls(directory, signer, issuer, audience, clock)

    @classmethod
    def load(cls, directory: Path, clock: Clock = CLOCK) -> Self:
        """Load what `create` wrote.

        Raises:
            OSError: A file is missing.
            ValueError: A file is damaged.
        """
        about = msgspec.json.decode((directory / "issuer.json").read_bytes(), type=dict[str, str])
        signer = Signer.from_pem((directory / "issuer.key").read_bytes(), about["algorithm"], about["kid"])
        return cls(directory, signer, about["issuer"], about["audience"], clock)

    @property
    def jwks(self) -> Path:
        """Path of the public key set."""
        return self.directory / "jwks.json"

    def mint(
        self,
        subject: str = "alice",
        *,
        issuer: str | None = None,
        audience: str | Sequence[str] | None = None,
        expires_in: float = 300,
        not_before: float | None = None,
        issued_at: float | None = None,
        groups: Sequence[str] = (),
        scopes: Sequence[str] = (),
        bind: str | None = None,
        bind_key: str | None = None,
        claims: Mapping[str, object] | None = None,
        headers: Mapping[str, object] | None = None,
        omit: Iterable[str] = (),
    ) -> str:
        """Sign an access token (RFC 9068), right or deliberately wrong.

        Args:
            subject: `sub`.
            issuer: `iss`, if not this issuer's; likewise `audience`.
            audience: `aud`.
            expires_in: Seconds from `issued_at` to `exp`.
            not_before: `nbf`, seconds since the epoch.
            issued_at: `iat`, seconds since the epoch; now if None.
            groups: `groups`.
            scopes: `scope`, joined by spaces.
            bind: Certificate fingerprint for `cnf.x5t#S256`, see `fingerprint`.
            bind_key: Thumbprint of a key for `cnf.jkt`, see `Signer.thumbprint`.
            claims: More claims, or other values.
            headers: More header members, or other values: `typ`, `kid`, `alg`, `crit` ...
            omit: Claims and header members to leave out.

        Returns:
            The compact token.
        """
        now = int(self.clock.wall() if issued_at is None else issued_at)
        optional: dict[str, object] = {
            "nbf": None if not_before is None else int(not_before),
            "groups": list(groups) or None,
            "scope": " ".join(scopes) or None,
            "cnf": {
                name: value for name, value in (("x5t#S256", bind), ("jkt", bind_key)) if value is not None
            }
            or None,
        }
        payload: dict[str, object] = {
            "iss": self.issuer if issuer is None else issuer,
            "sub": subject,
            "aud": self.audience if audience is None else audience,
            "iat": now,
            "exp": now + int(expires_in),
            "jti": secrets.token_hex(8),
            "client_id": "development",
        }
        payload |= {name: value for name, value in optional.items() if value is not None} | dict(claims or {})
        header = {"alg": self.signer.algorithm, "typ": "at+jwt", "kid": self.signer.kid} | dict(headers or {})
        left_out = frozenset(omit)
        return self.signer.sign(
            {name: value for name, value in payload.items() if name not in left_out},
            {name: value for name, value in header.items() if name not in left_out},
        ).decode()
