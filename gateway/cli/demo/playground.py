"""The commands that the demo leaves a person with: whole, so that they can be pasted as they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from gateway.cli.demo.model import MODEL

if TYPE_CHECKING:
    from pathlib import Path

CURL: Final = """\
curl https://localhost:{port}/v1/chat/completions \\
    --cacert {d}/certs/gateway-ca.pem --cert {d}/certs/alice.pem --key {d}/certs/alice.key \\
    -H "Authorization: Bearer $(cat {d}/tokens/alice)" -H "Content-Type: application/json" \\
    -d '{{"model": "{model}", "max_tokens": 40, "messages": [{{"role": "user", "content": "Hello!"}}]}}'"""

PYTHON: Final = """\
{python} - <<'END'
import openai, ssl
tls = ssl.create_default_context(cafile="{d}/certs/gateway-ca.pem")
tls.load_cert_chain("{d}/certs/alice.pem", "{d}/certs/alice.key")
token = open("{d}/tokens/alice").read().strip()
client = openai.OpenAI(base_url="https://localhost:{port}/v1", api_key=token,
                       http_client=openai.DefaultHttpxClient(verify=tls))
for piece in client.chat.completions.create(model="{model}", max_tokens=40, stream=True,
                                            messages=[{{"role": "user", "content": "Count to ten."}}]):
    print(piece.choices[0].delta.content or "" if piece.choices else "", end="", flush=True)
END"""

MINT: Final = """\
{gateway} token mint --directory {d}/issuer --subject alice --group ml-research \\
    --scope models:chat --bind-certificate {d}/certs/alice.pem > {d}/tokens/alice"""


def commands(directory: Path, gateway: Path, port: int, admin_port: int) -> list[tuple[str, str]]:
    """List what to try, each with the command that does it.

    Args:
        directory: The demo's directory.
        gateway: How this program was called.
        port: The gateway's port.
        admin_port: The operators' port.
    """
    program = str(gateway) if gateway.name == "gateway" else "python -m gateway"
    python = str(gateway.with_name("python")) if gateway.name == "gateway" else "python"
    log = f"{directory}/audit/gateway.jsonl"
    fill = {"d": directory, "port": port, "model": MODEL, "gateway": program, "python": python}
    return [
        ("one question, with nothing but curl", CURL.format(**fill)),
        ("the same with the openai client, streamed", PYTHON.format(**fill)),
        ("another token for alice, as the issuer would make it: change what you like", MINT.format(**fill)),
        ("what the record says", f"{program} audit show {log} --last 5"),
        (
            "whether anybody changed it (the first signature comes after a minute)",
            f"{program} audit verify {log} --key {directory}/certs/checkpoints.pub",
        ),
        ("whether a changed configuration is right", f"{program} check {directory}/gateway.yaml"),
        ("the operators' side", f"curl http://127.0.0.1:{admin_port}/metrics"),
    ]
