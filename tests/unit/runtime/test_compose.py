"""docker-compose.yaml runs the very processes of the specification, and starts nothing without secrets."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.containers import FILES, MORE_SECRETS, containers_config, write_secret_files
from modelyard.runtime.environment import SECRET_NAMES
from modelyard.runtime.secrets import load_or_make_secrets, write_private
from modelyard.runtime.spec import CommandCheck, HttpCheck, ProcessSpec, processes
from modelyard.signing.keys import Ed25519Signer

ROOT = Path(__file__).parents[3]
INFRASTRUCTURE = {"redis", "s3", "edge"}


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "docker-compose.yaml").read_text())


@pytest.fixture(scope="module")
def containers(tmp_path_factory: pytest.TempPathFactory) -> RuntimeConfig:
    return containers_config(load_or_make_secrets(tmp_path_factory.mktemp("made"), more=MORE_SECRETS))


@pytest.fixture(scope="module")
def specs(containers: RuntimeConfig) -> dict[str, ProcessSpec]:
    return {spec.name: spec for spec in processes(containers)}


def test_the_same_processes(compose, specs) -> None:
    assert set(compose["services"]) == set(specs) | INFRASTRUCTURE


def test_the_same_commands(compose, specs) -> None:
    for name, spec in specs.items():
        assert compose["services"][name]["command"] == list(spec.command), name


def test_the_same_environment_and_secrets_apart(compose, specs) -> None:
    for name, spec in specs.items():
        if name == "postgres":
            continue  # the official image has variables of its own
        service = compose["services"][name]
        assert service.get("environment", {}) == {k: v for k, v in spec.env.items() if k not in SECRET_NAMES}, name
        needed = {k for k in spec.env if k in SECRET_NAMES}
        needed |= {file.rpartition("/")[2] for key, file in spec.env.items() if file.startswith("/run/secrets/")}
        assert set(service["secrets"]) == needed, name


def test_no_gateway_can_sign_a_release(compose, specs) -> None:
    services = compose["services"].items()
    signing = {name for name, service in services if "release-signing-key" in service.get("secrets", ())}
    assert signing == {name for name in specs if name.startswith("airflow-")} - {"airflow-migrate", "airflow-pools"}


def test_the_same_order(compose, specs) -> None:
    for name, spec in specs.items():
        waits = compose["services"][name].get("depends_on", {})
        for need in spec.depends_on:
            done = "service_healthy" if specs[need].kind == "service" else "service_completed_successfully"
            assert waits[need] == {"condition": done}, (name, need)
        assert set(waits) - set(spec.depends_on) <= INFRASTRUCTURE, name


def test_the_same_health_checks_and_patience(compose, specs) -> None:
    for name, spec in specs.items():
        service = compose["services"][name]
        if isinstance(spec.health, HttpCheck):
            words = ["CMD", "python", "-m", "modelyard.runtime.health", spec.health.url, *spec.health.status]
            assert service["healthcheck"]["test"] == words
        elif isinstance(spec.health, CommandCheck):
            assert service["healthcheck"]["test"] == ["CMD", *spec.health.command]
        if spec.kind == "service":
            assert service["healthcheck"]["test"], name
            assert int(service["stop_grace_period"].rstrip("s")) >= spec.stop_wait
            assert service["deploy"]["resources"]["limits"]["memory"]


def test_every_secret_is_a_file_that_make_secrets_makes(compose, tmp_path: Path) -> None:
    made = write_secret_files(tmp_path)
    assert {name: entry["file"] for name, entry in compose["secrets"].items()} == {
        name: f"./deploy/private/{name}" for name in made
    }
    used = {name for service in compose["services"].values() for name in service.get("secrets", ())}
    assert used == set(made)
    before = {name: (tmp_path / name).read_text() for name in made}
    assert all(len(value) >= 24 for value in before.values())
    write_secret_files(tmp_path)
    assert {name: (tmp_path / name).read_text() for name in made} == before
    assert tmp_path.stat().st_mode & 0o077 == 0
    for name in ("release-signing-key", "trusted-keys"):  # a key that was changed by hand stays changed
        other = Ed25519Signer.make()
        text = other.private_pem() if name.endswith("key") else other.trusted().pem()
        write_private(tmp_path / name, text)
        write_secret_files(tmp_path)
        assert (tmp_path / name).read_text() == text


def test_no_password_is_written_in_the_file(compose) -> None:
    for name, service in compose["services"].items():
        for key, value in (service.get("environment") or {}).items():
            assert key not in SECRET_NAMES, (name, key)
            if "PASSWORD" in key or "SECRET" in key:
                assert value.startswith("/run/secrets/"), (name, key)
    assert set(FILES) <= set(compose["secrets"])


def test_only_the_edge_and_two_user_interfaces_are_published(compose) -> None:
    published = {name: service["ports"] for name, service in compose["services"].items() if "ports" in service}
    assert set(published) == {"edge", "mlflow", "airflow-api-server"}
    for name in ("mlflow", "airflow-api-server"):
        assert all(port.startswith("127.0.0.1:") for port in published[name])
    assert compose["networks"]["inside"] == {"internal": True}


def test_images_are_pinned_and_ours_run_unprivileged(compose, specs) -> None:
    for name in {*INFRASTRUCTURE, "postgres"}:
        tag = compose["services"][name]["image"].rpartition(":")[2]
        assert tag
        assert tag != "latest"
        assert any(sign.isdigit() for sign in tag)
    for name in set(specs) - {"postgres"}:
        service = compose["services"][name]
        assert service["cap_drop"] == ["ALL"]
        assert service["read_only"] is True
    assert "\nUSER modelyard\n" in (ROOT / "Dockerfile").read_text()


def test_the_edge_is_the_file_that_is_tested_and_knows_every_replica(compose, containers) -> None:
    edge = compose["services"]["edge"]
    assert edge["volumes"] == ["./deploy/haproxy.cfg:/usr/local/etc/haproxy/haproxy.cfg:ro"]
    config = (ROOT / "deploy" / "haproxy.cfg").read_text()
    for number, (host, port) in enumerate(containers.addresses.gateways, start=1):
        assert f'server {host} "${{EDGE_GATEWAY_{number}-{host}:{port}}}"' in config
    assert set(edge["depends_on"]) == {host for host, _ in containers.addresses.gateways}
    assert containers.settings.edge_url == "http://edge:8090"


def test_the_gpu_is_reserved_for_its_worker_alone(compose) -> None:
    worker = compose["services"]["airflow-worker-gpu"]
    assert worker["profiles"] == ["gpu"]
    (device,) = worker["deploy"]["resources"]["reservations"]["devices"]
    assert device == {"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}
    resources = {n: s.get("deploy", {}).get("resources", {}) for n, s in compose["services"].items()}
    assert [n for n, r in resources.items() if "reservations" in r] == ["airflow-worker-gpu"]


def run_entrypoint(folder: Path) -> subprocess.CompletedProcess[str]:
    script = (ROOT / "deploy" / "entrypoint.sh").read_text().replace("/run/secrets", str(folder))
    return subprocess.run(["sh", "-c", script, "entrypoint", "env"], capture_output=True, text=True, check=False)


def test_the_entry_point_makes_variables_of_secrets_and_refuses_empty_ones(tmp_path: Path) -> None:
    (tmp_path / "MODELYARD_DATABASE_URL").write_text("postgresql://x y$z")
    (tmp_path / "gateway-admin-token").write_text("for a program")
    done = run_entrypoint(tmp_path)
    assert "MODELYARD_DATABASE_URL=postgresql://x y$z" in done.stdout.splitlines()
    assert "for a program" not in done.stdout
    (tmp_path / "YARD_ADMIN_URL").write_text("")
    done = run_entrypoint(tmp_path)
    assert (done.returncode, done.stdout) == (78, "")
    assert "YARD_ADMIN_URL is empty" in done.stderr
