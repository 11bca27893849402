"""The edge's configuration as HAProxy itself reads it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

CONFIG = Path(__file__).parents[3] / "deploy" / "haproxy.cfg"
ADDRESSES = {"EDGE_GATEWAY_1": "127.0.0.1:8091", "EDGE_GATEWAY_2": "127.0.0.1:8092"}


def test_haproxy_takes_it_without_a_warning() -> None:
    """``-dW``: what is deprecated or doubtful is refused, so that a newer HAProxy's complaints are seen early."""
    binary = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
    assert binary is not None, "HAProxy is not installed: `apt-get install haproxy` (see CONTRIBUTING.md)"
    done = subprocess.run(
        [binary, "-c", "-dW", "-f", str(CONFIG)], env={**os.environ, **ADDRESSES}, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
