"""Renders the process specification as supervisord's configuration."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping

from modelyard.core.errors import ConfigError
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.orphans import marks, workplace
from modelyard.runtime.spec import ProcessSpec

_HEAD = """\
[unix_http_server]
file={socket}
chmod=0700

[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface

[supervisord]
logfile={logs}/supervisord.log
logfile_maxbytes=10MB
logfile_backups=2
pidfile={run}/supervisord.pid
childlogdir={logs}
directory={root}
umask=077
minfds=1024
{user}
"""

_PROGRAM = """\
[program:{name}]
command={command}
environment={environment}
directory={place}
autostart=false
autorestart=true
startsecs=1
startretries=30
stopsignal={signal}
stopwaitsecs={wait}
stopasgroup={group}
killasgroup=true
redirect_stderr=true
stdout_logfile={logs}/{name}.log
stdout_logfile_maxbytes=20MB
stdout_logfile_backups=2
"""


def supervisord_conf(config: RuntimeConfig, specs: Iterable[ProcessSpec], *, root_user: bool) -> str:
    """The configuration file. It holds secrets: write it with ``write_private``."""
    places = {"logs": _plain(config.logs), "run": _plain(config.run), "root": _plain(config.settings.root)}
    # Without this line supervisord complains at every start as root.
    user = "user=root" if root_user else ""
    parts = [_HEAD.format(socket=_plain(config.socket), user=user, **places)]
    for spec in specs:
        launcher = (str(config.python), "-m", "modelyard.runtime.launch", *spec.command)
        env = {**spec.env, **marks(config.home, spec.name), "PATH": f"{config.python.parent}:%(ENV_PATH)s"}
        parts.append(
            _PROGRAM.format(
                name=spec.name,
                place=_plain(workplace(config.home, spec.name)),
                command=_plain(shlex.join(launcher)),
                environment=_environment(env),
                signal=spec.stop_signal,
                wait=spec.stop_wait,
                group="true" if spec.group else "false",
                **places,
            )
        )
    return "\n".join(parts)


def _plain(text: object) -> str:
    # supervisord expands %(name)s everywhere; a percent sign of our own is doubled.
    return str(text).replace("%", "%%")


def _environment(env: Mapping[str, str]) -> str:
    return ",".join(f"{key}={_quoted(key, value)}" for key, value in sorted(env.items()))


def _quoted(key: str, value: str) -> str:
    # A semicolon after white space would start a comment.
    if any(sign in value for sign in ('"', "\n", "\\", " ;")):
        raise ConfigError(
            key, "<hidden>", "a value without quotes, backslashes, line breaks and ' ;'", where="environment"
        )
    return f'"{value if key == "PATH" else _plain(value)}"'
