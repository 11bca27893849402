"""The platform that a command works on."""

from __future__ import annotations

from modelyard.config.project import project_folders
from modelyard.config.settings import Settings
from modelyard.core.errors import NotFound
from modelyard.runtime.environment import use_env
from modelyard.wiring import ConnectedPlatform, connect


def settings() -> Settings:
    """The environment's settings; what they leave open is the embedded platform's, where there is one."""
    use_env()
    return Settings.from_env()


def platform() -> ConnectedPlatform:
    """The ports on these settings."""
    return connect(settings())


def platform_of(model: str) -> ConnectedPlatform:
    """The platform, for a question about one model.

    Raises:
        NotFound: there is no folder of this name, and the ledger has nothing of such a model; the known are listed.
    """
    here = platform()
    folders = project_folders(here.settings)
    if model not in folders and not _recorded(here, model):
        raise NotFound("model", model, known=folders, hint="The models are the folders under projects/.")
    return here


def _recorded(here: ConnectedPlatform, model: str) -> bool:
    """Whether the ledger has anything of a model, whose folder may have been removed since."""
    ledger = here.ledger
    return bool(
        ledger.journal.audit_log(model, 1)
        or ledger.releases.history(model)
        or ledger.rollouts.history(model)
        or ledger.snapshots.of(model)
        or ledger.journal.decisions(model)
        or ledger.journal.incidents(model)
        or ledger.journal.checks(model, brief=True)
    )
