"""The packages that a release was made with: their licences, and published advisories on them.

Advisories are asked of a service that speaks OSV's ``querybatch`` (https://google.github.io/osv.dev/post-v1-querybatch/),
which the installation names; nothing is sent anywhere by default. Whatever does not come to an answer is no evidence.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import Any

from modelyard.core.verdict import Measurement

DENIED = ("AGPL", "SSPL", "BUSL", "Commons Clause", "Proprietary", "Commercial")
"""Licences that ask something of whoever offers a service, or that forbid it; found as words in what a package says."""

LICENCES = "supply/licences.txt"
"""Where the run in MLflow keeps the list."""

ECOSYSTEM = "PyPI"
PATIENCE_S = 10.0
BATCH = 500
"""Packages asked about in one request; OSV takes up to 1,000."""


def measure_licences(licences: Mapping[str, str], release: str) -> Iterator[Measurement]:
    """``packages_without_licence`` and ``packages_of_denied_licence`` of ``{package: licence}`` (empty: none named)."""
    unnamed = sorted(name for name, licence in licences.items() if not licence)
    denied = sorted(f"{name} ({licence})" for name, licence in licences.items() if _is_denied(licence))
    for name, found in (("packages_without_licence", unnamed), ("packages_of_denied_licence", denied)):
        told = ", ".join(found) or LICENCES
        yield Measurement(name=name, value=len(found), n=len(licences), subject=release, evidence=told)


@cache
def installed_licences() -> dict[str, str]:
    """What each installed package says of its licence: the expression, the classifiers, or the first line of text."""
    return dict(sorted((d.metadata["Name"].lower().replace("_", "-"), _licence(d)) for d in metadata.distributions()))


def licence_list(licences: Mapping[str, str]) -> str:
    """One line for each package."""
    return "".join(f"{name}: {licence or 'names no licence'}\n" for name, licence in sorted(licences.items()))


def measure_advisories(packages: Sequence[str], service: str, release: str) -> Measurement:
    """``known_vulnerabilities`` of ``name==version`` lines; no value where the service cannot be asked or is odd."""
    about: dict[str, Any] = {"name": "known_vulnerabilities", "n": len(packages), "subject": release}
    if not service:
        return Measurement(value=None, why="no advisory service is set (MODELYARD_ADVISORIES_URL)", **about)
    try:
        found = advisories([tuple(line.split("==", 1)) for line in packages if "==" in line], service)  # type: ignore[misc]
    except (OSError, ValueError) as error:
        return Measurement(value=None, why=f"{service} gave no answer that can be used: {error}", **about)
    told = "; ".join(f"{package}: {', '.join(ids)}" for package, ids in found.items())
    return Measurement(value=sum(map(len, found.values())), evidence=told or f"none, says {service}", **about)


def advisories(packages: Sequence[tuple[str, str]], service: str) -> dict[str, list[str]]:
    """The ids of advisories by ``name==version``.

    Raises:
        OSError: the service cannot be reached, or refuses.
        ValueError: it does not answer for each package that was asked about.
    """
    import httpx

    found: dict[str, list[str]] = {}
    address = f"{service.rstrip('/')}/v1/querybatch"
    for start in range(0, len(packages), BATCH):
        part = packages[start : start + BATCH]
        asked = [{"package": {"name": name, "ecosystem": ECOSYSTEM}, "version": version} for name, version in part]
        try:
            answer = httpx.post(address, json={"queries": asked}, timeout=PATIENCE_S).raise_for_status().json()
        except httpx.HTTPError as error:
            raise OSError(str(error) or type(error).__name__) from None
        for (name, version), ids in zip(part, _ids(answer, len(part)), strict=True):
            if ids:
                found[f"{name}=={version}"] = ids
    return found


def _ids(answer: Any, asked: int) -> list[list[str]]:
    results = answer.get("results") if isinstance(answer, dict) else None
    if not isinstance(results, list) or len(results) != asked:
        raise ValueError(f"{asked} packages were asked about, and not as many are answered")
    try:
        return [[str(one["id"]) for one in (result or {}).get("vulns", [])] for result in results]
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"an answer is not of the form that OSV has: {error!r}") from None


def _licence(distribution: metadata.Distribution) -> str:
    told = distribution.metadata
    classifiers = [c.rpartition(" :: ")[2] for c in told.get_all("Classifier", []) if c.startswith("License ::")]
    text = "".join(told.get_all("License", [])).strip().splitlines()
    expression = "".join(told.get_all("License-Expression", []))
    named = expression or "; ".join(classifiers) or (text[0].strip() if text else "")
    return "" if named in ("UNKNOWN", "OSI Approved") else named


def _is_denied(licence: str) -> bool:
    # A choice between several, one of which is accepted, is no denial.
    parts = re.split(r"\s+OR\s+", licence)
    denied = re.compile("|".join(rf"\b{re.escape(word)}" for word in DENIED), re.IGNORECASE)
    return bool(licence) and all(denied.search(part) for part in parts)
