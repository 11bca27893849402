"""``modelyard keys``: the key that signs releases, and the keys that are believed."""

from __future__ import annotations

from typing import Annotated

import typer

from modelyard.cli.output import AsJson, console, emit_json, emit_table, reported
from modelyard.cli.session import settings
from modelyard.core.digest import short
from modelyard.core.errors import ConfigError
from modelyard.runtime import release_keys
from modelyard.signing.keys import load_signer, load_trust

app = typer.Typer(no_args_is_help=True, help="The key that signs releases, and the keys that are believed.")


@app.command()
def show(as_json: AsJson = False) -> None:
    """Show the trusted keys, and which one signs.

    Example: modelyard keys show
    """
    with reported():
        here = settings()
        try:
            signs = load_signer(here.signing_key_file).key
        except ConfigError:  # a machine that only verifies has none
            signs = ""
        kept = load_trust(here.trusted_keys_file).all.values()
        if as_json:
            emit_json([{"key": one.id, "demo": one.demo, "signs": one.id == signs} for one in kept])
            return
        rows = [(one.id, "demo" if one.demo else "own", "yes" if one.id == signs else "") for one in kept]
        emit_table("Trusted keys", ("key", "whose", "signs"), rows, empty="")


@app.command()
def make() -> None:
    """Make a new key pair: it signs from now on, and is trusted besides the earlier ones.

    Example: modelyard keys make
    """
    with reported():
        here = settings()
        made = release_keys.change_key(here)
        console.print(f"Key {made.key} signs from now on: {here.signing_key_file}", markup=False, highlight=False)
        console.print(
            f"Next: bring {here.trusted_keys_file} to every gateway; `modelyard release sign` each release that is "
            "still served; then `modelyard keys distrust` the old key.",
            markup=False, highlight=False,
        )  # fmt: skip


@app.command()
def distrust(key: Annotated[str, typer.Argument(help="The key's id, or how it begins.")]) -> None:
    """Believe a key no more: what only it has signed is not loaded any more.

    Example: modelyard keys distrust 3f2a90
    """
    with reported():
        gone = release_keys.distrust(settings(), key)
        console.print(f"Key {short(gone.id)} is not trusted here any more.", markup=False, highlight=False)
