"""What it costs to know who calls: CPU microseconds per request, by kind of credential.

    python benchmarks/credentials.py [--redis redis://127.0.0.1:6379] [--count 2000]

"First" is a credential that was never seen, "again" one that was: a token is remembered, a proof of possession
never. Runs the real stage with real keys on one core; sockets, TLS and the rest of the line are not in it. Tokens
and proofs are made before the clock starts.
"""

import argparse
import asyncio
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import uvloop

from gateway.core.call import Call
from gateway.core.identity import Peer, PeerCertificate
from gateway.credentials.clock import SystemClock
from gateway.credentials.development import DevelopmentIssuer
from gateway.credentials.development_proof import make_proof
from gateway.credentials.jwk import parse_key
from gateway.credentials.jwks import FileKeySet
from gateway.credentials.signing import Signer, generate_key
from gateway.stages.identify import Identification, Issuer, Possession, ProofRules, identify
from gateway.stages.identify.nonce import Nonces
from gateway.state.address import parse
from gateway.state.link import Server
from gateway.state.memory import MemoryStore
from gateway.state.once import MemoryOnce
from gateway.state.redis import RedisStore
from gateway.state.redis_once import RedisOnce
from gateway.state.redis_shares import RedisShares

CLOCK = SystemClock()
ORIGIN, PATH = "https://gateway.example.org", "/v1/chat/completions"
TOKENS = ("ES256", "EdDSA", "PS256", "RS256")
PROOFS = ("ES256", "EdDSA", "ES384", "PS256", "RS256")
NONCES = Nonces(b"fleet", 3600.0)
FINGERPRINT = "f" * 43
AT_ONCE = 16  # requests that wait for the store together, as on a gateway that is in use


def read_key(jwk):
    found = parse_key(jwk)
    return None if found is None else (found.key, found.algorithms)


def methods(issuer, once, nonces=None):
    """Whom the gateway believes; caches empty."""
    rules = ProofRules((ORIGIN,), frozenset(PROOFS), max_age=300.0, nonces=nonces)
    entry = Issuer(
        issuer.issuer, FileKeySet(issuer.jwks, CLOCK), issuer.audience, frozenset({issuer.signer.algorithm})
    )
    return Identification([entry], possession=Possession(rules, read_key, once=once))


def request(scheme, token, proof=None, certificate=None):
    headers = {b"authorization": f"{scheme} {token}".encode()}
    if proof is not None:
        headers[b"dpop"] = proof.encode()
    return Call("id", "POST", PATH, "", headers, Peer("192.0.2.1", 1, certificate), None)


async def cost(calls, believed, at_once=1):
    """Identify every call once; microseconds of CPU for each."""
    now = CLOCK.wall()
    began = time.process_time()
    if at_once == 1:
        for call in calls:
            await identify(call, believed, now)
    else:
        for first in range(0, len(calls), at_once):
            batch = calls[first : first + at_once]
            async with asyncio.TaskGroup() as group:
                for call in batch:
                    group.create_task(identify(call, believed, now))
    return (time.process_time() - began) / len(calls) * 1e6


def certificate():
    now = CLOCK.wall()
    return PeerCertificate(FINGERPRINT, "CN=a", "CN=ca", "1", (), (), None, now - 60, now + 3600)


async def tokens(directory, count):
    print("\ntoken           alg     first   again   (µs)")
    for algorithm in TOKENS:
        issuer = DevelopmentIssuer.create(directory / algorithm, algorithm)
        for name, options, peer in (
            ("bearer", {}, None),
            ("mTLS-bound", {"bind": FINGERPRINT}, certificate()),
        ):
            believed = methods(issuer, MemoryOnce(CLOCK))
            calls = [request("Bearer", issuer.mint(**options), None, peer) for _ in range(count)]
            first = await cost(calls, believed)
            again = min([await cost(calls, believed) for _ in range(5)])
            print(f"{name:15} {algorithm:7} {first:5.1f}  {again:6.2f}")


async def proofs(directory, count, redis):
    issuer = DevelopmentIssuer.create(directory / "proofs", "ES256")
    print("\nproof           alg     first   again   with nonce" + ("   Redis" if redis else "") + "   (µs)")
    for algorithm in PROOFS:
        holder = Signer(generate_key(algorithm), algorithm)

        def proven(token, holder=holder):
            nonce = NONCES.make(holder.thumbprint, CLOCK.wall())
            url = ORIGIN + PATH
            proof = make_proof(holder, "POST", url, CLOCK.wall(), token=token, nonce=nonce)
            return request("DPoP", token, proof)

        new = [proven(issuer.mint(bind_key=holder.thumbprint)) for _ in range(count)]
        first = await cost(new, methods(issuer, MemoryOnce(CLOCK)))
        token = issuer.mint(bind_key=holder.thumbprint)
        figures = []
        for once, nonces, at_once in (
            (MemoryOnce(CLOCK), None, 1),
            (MemoryOnce(CLOCK), NONCES, 1),
            (redis, None, AT_ONCE),
        ):
            if once is not None:
                believed = methods(issuer, once, nonces)
                await cost([proven(token)], believed)
                figures.append(
                    min(
                        [
                            await cost([proven(token) for _ in range(count)], believed, at_once)
                            for _ in range(3)
                        ]
                    )
                )
        print(
            f"{'DPoP':15} {algorithm:7} {first:5.1f}  {figures[0]:6.1f}  {figures[1]:11.1f}",
            *(f"{x:7.1f}" for x in figures[2:]),
        )


async def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--redis", help="URL of a server that may be written to")
    parser.add_argument("--count", type=int, default=2000, help="credentials per figure (2000)")
    arguments = parser.parse_args()
    store = None
    if arguments.redis:
        store = RedisStore(
            RedisShares(Server(parse(arguments.redis), timeout=2.0), CLOCK), MemoryStore(CLOCK)
        )
        await store.start()
        if not store.is_ready:
            sys.exit(f"{arguments.redis}: {store.why}")
    with TemporaryDirectory() as directory:
        await tokens(Path(directory), arguments.count)
        await proofs(Path(directory), arguments.count, RedisOnce(store.link) if store else None)
    if store is not None:
        await store.stop()


if __name__ == "__main__":
    uvloop.run(main())
