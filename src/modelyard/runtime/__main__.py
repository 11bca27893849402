"""``python -m modelyard.runtime up|down|status|doctor|clean``: as the CLI, where only the runtime is wanted."""

from __future__ import annotations

import sys

from modelyard.config.settings import Settings
from modelyard.core.errors import ModelyardError
from modelyard.runtime import commands
from modelyard.runtime.doctor import examine
from modelyard.runtime.environment import use_env


def _tell(name: str, what: str) -> None:
    print(f"{name}: {what}", flush=True)


def _up(settings: Settings, only: list[str]) -> int:
    running = commands.up(settings, _tell, tuple(only) or None)
    print(f"Airflow {running.airflow_url}, MLflow {running.mlflow_url}, gateway {', '.join(running.gateway_urls)}")
    return 0


def _status(settings: Settings) -> int:
    reports = commands.status(settings)
    for report in reports:
        problem = report.problem or "ok"
        print(f"{report.name:22} {report.state:9} {report.pid or '':>7} {report.address:16} {problem}")
    return 0 if reports and not any(report.problem for report in reports) else 1


def _doctor(settings: Settings) -> int:
    findings = examine(settings)
    for found in findings:
        print(f"{'ok     ' if found.ok else 'PROBLEM'} {found.check}: {found.detail}")
        if found.mend:
            print(f"        {found.mend}")
    return 0 if all(found.ok for found in findings) else 1


def main(arguments: list[str]) -> int:
    """Run one command; the exit code is 0 when all is well."""
    use_env()
    settings = Settings.from_env()
    match arguments:
        case ["up", *only]:
            return _up(settings, only)
        case ["down"]:
            print(f"stopped {commands.down(settings)} processes")
        case ["clean"]:
            commands.clean(settings)
        case ["status"]:
            return _status(settings)
        case ["doctor"]:
            return _doctor(settings)
        case _:
            print(__doc__, file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    try:
        raise SystemExit(main(sys.argv[1:]))
    except ModelyardError as failure:
        print(failure, file=sys.stderr)
        raise SystemExit(1) from None
