"""The gateway loads what a trusted key has signed, and nothing else; whatever it refuses, the champion stays."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fixtures.bundles import MODEL, ROW, graph, write_bundle_of
from fixtures.gateways import Gateway, running
from fixtures.keys import KEY, STRANGER, write_trusted

from modelyard.core.records import Release
from modelyard.ports.fleet import Arm, Route
from modelyard.release.bundle import MANIFEST, SIGNED
from modelyard.signing.keys import Ed25519Signer
from modelyard.signing.statement import sign_release

DEMO = Ed25519Signer.make(demo=True, seed=b"the key that a demo made for it.")


@dataclass
class Served:
    """A replica and the champion that answers on it."""

    gateway: Gateway
    champion: Arm


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("signed")
    with running(folder / "home") as started:
        champion = write_bundle_of(folder / "champion")[1]
        assert started.route(Route(model=MODEL, champion=champion), 1).status_code == 200
        yield Served(started, champion)


def second(folder: Path) -> Arm:
    return write_bundle_of(folder, version=2, onnx=graph(bias=0.5))[1]


def signed_by(signer: Ed25519Signer) -> Callable[[Path], None]:
    def sign(at: Path) -> None:
        release = Release.from_json((at / MANIFEST).read_bytes())
        (at / SIGNED).write_text(sign_release(release, signer).to_json())

    return sign


def another_graph(at: Path) -> None:
    """A changed file, and a manifest that names it: whole in itself."""
    signed = (at / SIGNED).read_bytes()
    write_bundle_of(at, version=2, onnx=graph(bias=9.0))
    (at / SIGNED).write_bytes(signed)


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a changed file": (lambda at: (at / "model.onnx").write_bytes(graph(bias=9.0)), "does not match its digest"),
    "no signature": (lambda at: (at / SIGNED).unlink(), "nobody has signed it"),
    "another key": (signed_by(STRANGER), "which is not trusted here"),
    "another manifest": (another_graph, "it was signed for release"),
    "a damaged signature": (lambda at: (at / SIGNED).write_text("{"), "no DSSE envelope"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_not_as_it_was_signed_is_refused_and_the_champion_stays(
    served: Served, tmp_path: Path, change: str
) -> None:
    arm, gateway = second(tmp_path), served.gateway
    do, says = CHANGES[change]
    do(tmp_path)
    # Whoever changes bundles may send routes, too: this one names the release that lies there now.
    arm = arm.model_copy(update={"release": Release.from_json((tmp_path / MANIFEST).read_bytes()).digest})
    before = gateway.state(MODEL)
    for route in (
        Route(model=MODEL, champion=arm),
        Route(model=MODEL, champion=served.champion, challenger=arm, weight=5000, rollout="r", salt="s"),
    ):
        refused = gateway.route(route, before["generation"] + 1)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "bundle_refused")
        assert says in refused.json()["error"]["message"]
    after = gateway.state(MODEL)
    assert (after["champion"], after["generation"]) == (served.champion.release, before["generation"])
    assert gateway.predict(MODEL, rows=[ROW]).json()["version"] == 1


def test_keys_change_without_a_restart_and_hold_after_one(served: Served, tmp_path: Path) -> None:
    gateway, arm = served.gateway, second(tmp_path)
    signed_by(STRANGER)(tmp_path)
    write_trusted(gateway.home, KEY, STRANGER)
    assert gateway.route(Route(model=MODEL, champion=arm), 100).status_code == 200
    write_trusted(gateway.home, KEY)
    assert gateway.predict(MODEL, rows=[ROW]).json()["version"] == 2  # what was loaded goes on
    gateway.stop()
    gateway.start()
    ready = gateway.http.get("/readyz")
    assert ready.status_code == 503
    assert "which is not trusted here" in ready.text
    assert gateway.route(Route(model=MODEL, champion=served.champion), 101).status_code == 200
    assert gateway.predict(MODEL, rows=[ROW]).json()["version"] == 1


@pytest.mark.parametrize(
    ("trusted", "says"),
    [
        ("", "MODELYARD_TRUSTED_KEYS_FILE"),
        (DEMO.trusted().pem(), "made by the demo for itself, and the profile is production"),
    ],
)
def test_a_gateway_that_could_trust_nothing_does_not_start(tmp_path: Path, trusted: str, says: str) -> None:
    (tmp_path / "trusted-keys.pem").write_text(trusted)
    env = {name: value for name, value in os.environ.items() if not name.startswith("MODELYARD_")}
    env |= {"MODELYARD_HOME": str(tmp_path), "MODELYARD_PROFILE": "production"}
    command = [sys.executable, "-m", "modelyard.serving", "--replica", "gateway-1", "--port", "1"]
    ended = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert says in ended.stderr
