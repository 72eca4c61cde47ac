"""What operators copy can be read, gives the gateway little, and holds a configuration that loads."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from gateway.config.errors import ConfigurationError
from gateway.config.load import load
from gateway.credentials.clock import SystemClock
from tests.house.tree import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DEPLOY = ROOT / "deploy"
SANDBOX = {
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "PrivateTmp=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "SystemCallFilter=@system-service",
    "MemoryDenyWriteExecute=yes",
    "IPAddressDeny=any",
    "LockPersonality=yes",
    "CapabilityBoundingSet=",
}


@pytest.fixture(scope="module")
def objects() -> list[dict[str, Any]]:
    """Everything in the Kubernetes manifest."""
    return list(yaml.safe_load_all((DEPLOY / "kubernetes/gateway.yaml").read_text()))


def only(objects: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    """Return the one object of a kind."""
    [found] = [one for one in objects if one["kind"] == kind]
    return found


def test_every_object_has_a_name_and_a_namespace(objects: list[dict[str, Any]]) -> None:
    """Nothing lands in whatever namespace happens to be current."""
    assert [] == [
        one["kind"] for one in objects if one["kind"] != "Namespace" and "namespace" not in one["metadata"]
    ]


def test_the_container_has_no_rights(objects: list[dict[str, Any]]) -> None:
    """No root, no privileges, nothing writable but its state, no token for the cluster."""
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    security = container["securityContext"]
    writable = [mount["name"] for mount in container["volumeMounts"] if not mount.get("readOnly")]

    assert pod["securityContext"]["runAsNonRoot"]
    assert not pod["automountServiceAccountToken"]
    assert (False, True) == (security["allowPrivilegeEscalation"], security["readOnlyRootFilesystem"])
    assert ["ALL"] == security["capabilities"]["drop"]
    assert ["state"] == writable
    assert "@sha256:" in container["image"]


def test_probes_ask_the_operators_listener(objects: list[dict[str, Any]]) -> None:
    """Readiness and liveness are different questions, and neither is on the clients' listener."""
    [container] = only(objects, "Deployment")["spec"]["template"]["spec"]["containers"]

    assert "/readyz" == container["readinessProbe"]["httpGet"]["path"]
    assert "/livez" == container["livenessProbe"]["httpGet"]["path"]
    assert {"admin"} == {
        container[f"{one}Probe"]["httpGet"]["port"] for one in ("startup", "readiness", "liveness")
    }


def test_the_network_denies_by_default(objects: list[dict[str, Any]]) -> None:
    """One policy denies everything, one names what the gateway may do, one isolates the model."""
    policies = {one["metadata"]["name"]: one["spec"] for one in objects if one["kind"] == "NetworkPolicy"}

    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} == policies["nothing-by-default"]
    assert all(rule.get("to") for rule in policies["gateway"]["egress"])
    assert all(rule["from"] for rule in policies["only-the-gateway"]["ingress"])


def test_the_grace_is_longer_than_the_drain(objects: list[dict[str, Any]]) -> None:
    """Running answers may end before they are killed."""
    pod = only(objects, "Deployment")["spec"]["template"]["spec"]
    configuration = yaml.safe_load(only(objects, "ConfigMap")["data"]["gateway.yaml"])

    assert int(configuration["server"]["drain"].rstrip("s")) < pod["terminationGracePeriodSeconds"]


def test_the_configuration_in_it_loads(objects: list[dict[str, Any]], tmp_path: Path) -> None:
    """Nothing is wrong with it but that its files are elsewhere."""
    path = tmp_path / "gateway.yaml"
    path.write_text(only(objects, "ConfigMap")["data"]["gateway.yaml"])
    with pytest.raises(ConfigurationError) as caught:
        load(path, SystemClock())
    others = [str(one) for one in caught.value.problems if "there is no file" not in one.message]

    assert [] == others


def test_the_unit_has_its_sandbox() -> None:
    """Every directive that the threat model counts on."""
    lines = set((DEPLOY / "gateway.service").read_text().splitlines())

    assert set() == SANDBOX - lines


def test_systemd_understands_the_unit(tmp_path: Path) -> None:
    """Where systemd is, it finds no unknown directive; elsewhere the file's form is checked alone."""
    text = (DEPLOY / "gateway.service").read_text()
    directives = [line for line in text.splitlines() if line and line[0] not in "#["]
    assert [] == [line for line in directives if "=" not in line]
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        return
    unit = tmp_path / "gateway.service"
    unit.write_text(text.replace("/opt/gateway/bin/gateway", "/bin/true"))
    done = subprocess.run([analyze, "verify", str(unit)], check=False, capture_output=True, text=True)

    assert "Unknown" not in done.stderr


def test_the_image_runs_as_nobody() -> None:
    """The last stage has a user without rights, and installs nothing that is not pinned by hash."""
    text = (DEPLOY / "Dockerfile").read_text()
    last = text[text.rindex("\nFROM ") :]

    assert "\nUSER 10001:10001\n" in last
    assert "pip" not in last
    assert text.count("pip install") == text.count("--require-hashes") + text.count("--no-deps --no-index")


def test_the_image_sees_only_what_it_needs() -> None:
    """Keys and logs that lie about never reach a build."""
    lines = (ROOT / ".dockerignore").read_text().split()

    assert "*" == lines[0]
    assert {"!gateway", "!pyproject.toml", "!README.md", "!LICENSE"} <= set(lines)
