"""The gateway as a peer of the harness: one configuration per mode.

P plain proxying (no identity, no schema; still one record per request), T the same behind TLS,
M everything on: mutual TLS, JWT, roles, CEL, limits, strict JSON, schema, counters, risk, assertion,
audit log and log line.
"""

import os
import subprocess
import sys

M_RULES = """
    require: {certificate: true, token: {scopes: [chat.completions]}}
    allow:
      - {name: clients, roles: [client], models: [gpt-4o-mini], when: "request.max_tokens <= 1024 && request.n == 1"}
    deny:
      - {name: too-risky, when: "risk.score >= 0.8"}
    limits: {requests: RATE/second, concurrent: 1000}
    risk: {bar: 0.9, detectors: [denied-probing, malformed-burst]}
"""
P_RULES = """
    allow:
      - {name: everybody, roles: [public]}
"""


def configuration(x, log):
    """Return the YAML for a context of the harness."""
    tls = {
        "P": "",
        "T": f"  tls: {{certificate: {x.pki}/server.pem, private_key: {x.pki}/server.key, client_certificate: none}}\n",
        "M": f"  tls: {{certificate: {x.pki}/server.pem, private_key: {x.pki}/server.key, client_ca: {x.pki}/ca.pem}}\n",
    }[x.mode]
    if x.mode == "M":
        identity = f"""
identity:
  issuers:
    - {{issuer: "https://issuer.bench.test", jwks: "file:{x.pki}/jwks.json", audience: inference-gateway,
       algorithms: [{x.alg}], token_types: [JWT], max_lifetime: 10d}}
roles:
  client: {{spiffe: ["spiffe://bench.test/sa/*"]}}"""
        rules = M_RULES.replace("RATE", str(int(x.rate)))
    else:
        identity = "\nidentity: {anonymous: {roles: [public]}}\nroles: {public: {}}"
        rules = P_RULES
    state = f"\nstate: {{url: {os.environ['GATEWAY_STATE']}}}" if os.environ.get("GATEWAY_STATE") else ""
    return f"""server:
  listen: 127.0.0.1:{x.port}
{tls}  timeouts: {{keep_alive: 10m}}{state}{identity}
backends:
  bench: {{endpoints: ["http://127.0.0.1:{x.upstream_port}"], connections: 2000, keep_alive: 10m}}
routes:
  - name: chat
    match: {{methods: [POST], path: /v1/chat/completions}}
    dialect: {"openai.chat" if x.mode == "M" else "opaque"}
    backend: bench{rules}
audit: {{path: {x.work}/audit.jsonl}}
log: {{exchanges: {"true" if log else "false"}}}
"""


def make_peer(base):
    """Return the peer class, derived from the harness' own base class."""

    class Gateway(base):
        name = "gateway"
        modes = "PTM"
        lacks = {}
        kind = "Python, asyncio protocols on uvloop"

        def cmd(self, x):
            path = x.write("gateway.yaml", configuration(x, log=False))
            return [sys.executable, "-m", "gateway", "run", "--config", path], {}

        def version(self):
            out = subprocess.run(
                [sys.executable, "-m", "gateway", "version"], capture_output=True, text=True, check=False
            )
            return out.stdout.strip().removeprefix("gateway ")

    return Gateway
