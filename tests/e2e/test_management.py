"""What servers are managed by stays closed behind a wildcard, and opens by its name alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.e2e.running import RunningGateway, once
from tests.e2e.scripted import Asked, Said, Scripted
from tests.e2e.surfaces import configure, surface

if TYPE_CHECKING:
    from pathlib import Path

    from tests.e2e.world import World


def script(asked: Asked) -> Said:
    """Answer anything."""
    return Said("application/json", (b'{"reached":true}',))


def test_a_wildcard_reaches_no_management(world: World, tmp_path: Path) -> None:
    """Everything under a wildcard is served but what manages the server, which never sees a byte of it."""
    socket = tmp_path / "s"
    route = surface("/v2/**", "opaque", "GET", "POST", management=["model-repository"])
    path = configure(world, tmp_path, socket, route)
    with (
        Scripted(socket, script) as server,
        RunningGateway(path, tmp_path / "audit.jsonl") as gateway,
        world.http(gateway, world.token("curious")) as client,
    ):
        served = [client.get(f"/v2/{one}") for one in ("models/m", "repository/index")]
        refused = [
            client.request(method, f"/v2/{one}")
            for method in ("GET", "POST")
            for one in (
                "logging",
                "Logging",
                "trace/setting",
                "systemsharedmemory/status",
                "models/m/config",
            )
        ]
        record = gateway.record(refused[0].json()["instance"].rsplit(":", 1)[1])
        seen = [one.path for one in server.seen]

    assert [200, 200] == [one.status_code for one in served]
    assert [403] * 10 == [one.status_code for one in refused]
    assert "route-unknown" == record["reason"]
    assert ["/v2/models/m", "/v2/repository/index"] == seen


def test_check_names_what_is_reached(world: World, tmp_path: Path) -> None:
    """A configuration that says nothing of what its wildcard reaches is refused, with the place and the mend."""
    path = configure(world, tmp_path, tmp_path / "s", surface("/v1/**", "opaque"))
    result = once("check", path)

    assert 0 != result.returncode
    assert "/v1/** reaches what servers are managed by: lora" in result.stdout + result.stderr
    assert "management: []" in result.stdout + result.stderr
