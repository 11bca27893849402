"""Buckets are made once, in a store that speaks S3 (a test server; the real one is named in docker-compose.yaml)."""

from __future__ import annotations

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from modelyard.runtime import sockets
from modelyard.runtime.buckets import make_buckets


def test_buckets_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    port = sockets.free_port()
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    server.start()
    for key, value in {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",  # pragma: allowlist secret
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{port}",
    }.items():
        monkeypatch.setenv(key, value)
    fsspec.config.conf.pop("s3", None)
    try:
        assert make_buckets(["mlflow", "modelyard"]) == ["mlflow", "modelyard"]
        assert make_buckets(["mlflow", "modelyard"]) == []
    finally:
        fsspec.filesystem("s3").clear_instance_cache()
        server.stop()
