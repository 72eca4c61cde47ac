"""Gateways with one route per dialect, and the clients that people use for them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import anthropic
import yaml

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.running import RunningGateway
    from tests.e2e.world import World


def surface(path: str, dialect: str, *methods: str, **more: Any) -> dict[str, Any]:
    """Return a route that researchers may use for the model `tiny`."""
    rule: dict[str, Any] = {"name": "researchers", "roles": ["researcher"]}
    if dialect not in {"openai.models", "opaque", "json"}:
        rule["models"] = ["tiny"]
    return {
        "name": re.sub("[^a-z0-9]+", "-", f"{dialect} {path}").strip("-"),
        "match": {"methods": list(methods or ("POST",)), "path": path},
        "dialect": dialect,
        "backend": "tiny",
        "allow": [rule],
    } | more


def configure(world: World, directory: Path, socket: Path, *routes: dict[str, Any]) -> Path:
    """Write a configuration with these routes in place of the world's."""
    path = world.configure(directory, socket)
    document = yaml.safe_load(path.read_text())
    document["routes"] = list(routes)
    path.write_text(yaml.safe_dump(document))
    return path


def messages_client(world: World, gateway: RunningGateway, token: str) -> anthropic.Anthropic:
    """Make Anthropic's official client."""
    return anthropic.Anthropic(
        base_url=f"https://localhost:{gateway.port}",
        auth_token=token,
        max_retries=0,
        timeout=20.0,
        http_client=anthropic.DefaultHttpxClient(verify=world.context(world.alice), trust_env=False),
    )
