"""Transmitters of security events, compiled from a configuration on disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.app.signals import SLACK
from gateway.credentials.bundles import write_bundle
from tests.pki import Ca
from tests.unit.app.settings import CLOCK, FULL

if TYPE_CHECKING:
    from tests.unit.app.settings import Directory

DOMAINS = """\
identity:
  signals:
    - name: idp
      issuer: https://idp.example.org
      audience: https://gateway.example.org/signals
      jwks: "file:issuer/jwks.json"
      speaks_for: [https://idp.example.org, "spiffe://one.example"]
      push: {token: "file:secret"}
  trust_domains:
    one.example: {bundle: "file:one.json", audience: model-gateway, max_lifetime: 5h}
"""


def test_what_an_event_voids_stays_void(directory: Directory) -> None:
    """For as long as any token lives that was issued before it, a JWT-SVID of a trust domain too."""
    directory.write("one.json", write_bundle([Ca("one", CLOCK.wall()).certificate]))
    [feed] = directory.compile(FULL.replace("identity:\n", DOMAINS)).feeds

    assert 5 * 3600.0 + SLACK == feed.transmitter.memory
