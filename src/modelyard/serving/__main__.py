"""``python -m modelyard.serving --replica gateway-1 --host 127.0.0.1 --port 8090``: one replica of the gateway."""

from __future__ import annotations

import argparse
import gc
import logging
import signal
import sys
import threading
from collections.abc import Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import uvicorn

from modelyard.config.project import project_folders, read_spec
from modelyard.config.settings import Settings
from modelyard.core.errors import ConfigError, ModelyardError
from modelyard.core.orphans import end_with
from modelyard.core.probes import probe_token
from modelyard.serving.app import App
from modelyard.serving.control import Control
from modelyard.serving.heads import HEAD_S
from modelyard.serving.log import PredictionLog
from modelyard.serving.metrics import Metrics
from modelyard.serving.online import store_for
from modelyard.serving.protocol import connection
from modelyard.serving.requests import Bounds
from modelyard.signing.keys import read_trust

_LOG_SECONDS = "most seconds between two batches; 0 writes every row to the disk before it is answered"


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM, then drain."""
    parser = argparse.ArgumentParser(prog="python -m modelyard.serving", description="one replica of the gateway")
    parser.add_argument("--replica", required=True, help="a name of its own; state is kept under it")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--log-rows", type=int, default=2000, help="rows per batch of the prediction log")
    parser.add_argument("--log-seconds", type=float, default=2.0, help=_LOG_SECONDS)
    parser.add_argument(
        "--head-seconds", type=float, default=HEAD_S, help="most seconds until a request's head is here"
    )
    parser.add_argument("--parent", type=int, default=0, help="end when this process, which started it, is gone")
    args = parser.parse_args(argv)
    if args.parent:
        threading.Thread(target=end_with, args=(args.parent,), name="orphan", daemon=True).start()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        ready = server(args, Settings.from_env())
        # uvicorn drains on SIGTERM and then raises the signal again for whoever handled it before: an orderly end.
        signal.signal(signal.SIGTERM, lambda *_: None)
        ready.run()
    except ModelyardError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def server(args: argparse.Namespace, settings: Settings) -> uvicorn.Server:
    """The replica, ready to run.

    Raises:
        ConfigError: a file that the settings name is absent or wrong: the admin token's, that of the trusted keys.
    """
    trust = partial(read_trust, settings)
    trust()  # without keys, or with the demo's in production, nothing could ever be served: better said at once
    # The GIL changes hands every 5 ms by default, for which a request would have to wait while the log is written.
    sys.setswitchinterval(0.0005)
    # What is loaded by now stays; and requests leave no cycles behind: looking for some may be rarer than by default.
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)
    log = PredictionLog(settings.prediction_log, args.replica, rows=args.log_rows, seconds=args.log_seconds)
    folder, numbers = settings.home / "gateway" / args.replica, partial(declared_numbers, settings)
    control = Control(args.replica, folder, log, store_for(settings), numbers, trust)
    admin, probe = token_hashes(settings.admin_token_file)
    app = App(control, log, Metrics(control, log), admin, probe_hash=probe)
    config = uvicorn.Config(
        app,
        host=args.host,
        port=args.port,
        loop="uvloop",
        http=connection(app, args.head_seconds),
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=15,
        proxy_headers=False,
        server_header=False,
        date_header=False,
    )
    return uvicorn.Server(config)


def declared_numbers(settings: Settings, model: str) -> dict[str, Bounds]:
    """The numbers of a model's ``model.yaml``, by name; none where this installation has no folder for the model.

    Raises:
        ConfigError: ``model.yaml`` is wrong.
    """
    folders = project_folders(settings)
    declared = read_spec(folders[model]).feedback if model in folders else {}
    return {name: (number.min, number.max) for name, number in declared.items()}


def token_hashes(path: Path | None) -> tuple[bytes | None, bytes | None]:
    """The SHA-256 of the admin token and of the probe token; without a file both are off.

    Raises:
        ConfigError: the file is absent or holds too short a token.
    """
    if path is None:
        return None, None
    if not path.is_file():
        raise ConfigError("MODELYARD_ADMIN_TOKEN_FILE", str(path), "an existing file", where="environment")
    token = path.read_text(encoding="utf-8").strip()
    if len(token) < 16:
        raise ConfigError("MODELYARD_ADMIN_TOKEN_FILE", str(path), "a file with a token of 16 characters or more")
    return sha256(token.encode()).digest(), sha256(probe_token(token).encode()).digest()


if __name__ == "__main__":
    sys.exit(main())
