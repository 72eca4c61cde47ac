"""Paths by which inference servers are managed, on the same port that serves their models.

They load and unload models, read and write memory of the server's, turn on traces, show prompts of others.
No route reaches one of them unless it names the surface. Where each path is documented stands in
docs/management.md. Compared without case and without a last slash: a server that is more lenient than this
gateway is not reached by another spelling. (Escapes of plain characters are refused by the wire.)
"""

from __future__ import annotations

from typing import Final, TypeAlias

# A segment `*` stands for any one, a last `**` for any rest and for none. All in lower case.
SURFACES: Final[dict[str, tuple[str, ...]]] = {
    "model-repository": (
        "/v2/repository/**",
        "/models/load",
        "/models/unload",
        "/api/blobs/**",
        "/api/copy",
        "/api/create",
        "/api/delete",
        "/api/pull",
        "/api/push",
    ),
    "shared-memory": ("/v2/systemsharedmemory/**", "/v2/cudasharedmemory/**"),
    "tracing": (
        "/v2/trace/**",
        "/v2/models/*/trace/**",
        "/v2/models/*/versions/*/trace/**",
        "/start_profile",
        "/stop_profile",
    ),
    "logging": ("/v2/logging",),
    "configuration": (
        "/v2/models/*/config",
        "/v2/models/*/versions/*/config",
        "/get_server_info",
        "/info",
        "/props",
        "/server_info",
        "/tokenizer_info",
    ),
    "statistics": (
        "/v2/models/stats",
        "/v2/models/*/stats",
        "/v2/models/*/versions/*/stats",
        "/load",
        "/metrics/**",
    ),
    "slots": ("/slots/**",),
    "lora": (
        "/v1/load_lora_adapter",
        "/v1/unload_lora_adapter",
        "/load_lora_adapter",
        "/unload_lora_adapter",
        "/lora-adapters",
    ),
    "engine": (
        "/abort_requests",
        "/collective_rpc",
        "/flush_cache",
        "/get_world_size",
        "/init_weight_transfer_engine",
        "/is_paused",
        "/is_scaling_elastic_ep",
        "/is_sleeping",
        "/pause",
        "/reset_encoder_cache",
        "/reset_mm_cache",
        "/reset_prefix_cache",
        "/resume",
        "/scale_elastic_ep",
        "/sleep",
        "/update_weights",
        "/update_weights_from_disk",
        "/wake_up",
    ),
}

Closed: TypeAlias = tuple[tuple[str, ...], ...]


def _split(pattern: str) -> tuple[str, ...]:
    return tuple(pattern[1:].split("/"))


_SPLIT: Final = {name: tuple(map(_split, paths)) for name, paths in SURFACES.items()}


def reached(route: str) -> dict[str, Closed]:
    """Return the surfaces that some path of a route's pattern reaches, and by which of their paths.

    Args:
        route: Literal segments, `{name}` for one segment, a last `**` for any rest.
    """
    segments = ["*" if part[:1] == "{" else part for part in _split(_plain(route))]
    found = {
        name: tuple(pattern for pattern in patterns if _overlap(segments, list(pattern)))
        for name, patterns in _SPLIT.items()
    }
    return {name: patterns for name, patterns in found.items() if patterns}


def is_managed(path: str, closed: Closed) -> bool:
    """Tell whether a path is one of `closed`, as `reached` returns them."""
    segments = list(_split(_plain(path)))
    return any(_overlap(segments, list(pattern)) for pattern in closed)


def _plain(path: str) -> str:
    return path.lower().rstrip("/")


def _overlap(one: list[str], other: list[str]) -> bool:
    """Tell whether some path fits both patterns."""
    for index, part in enumerate(one):
        if part == "**" or (index < len(other) and other[index] == "**"):
            return True
        if index >= len(other) or not ("*" in {part, other[index]} or part == other[index]):
            return False
    return len(one) == len(other) or other[len(one) :] == ["**"]
