"""Names of releases, as people type them."""

from __future__ import annotations

import pytest

from modelyard.core.errors import ConfigError
from modelyard.release.names import ByAlias, ByDigest, ByVersion, parse_name


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("sha256:" + "ab" * 32, ByDigest("sha256:" + "ab" * 32)),
        ("ab12cd", ByDigest("sha256:ab12cd")),
        ("flight_delay@3", ByVersion("flight_delay", 3)),
        ("flight_delay@champion", ByAlias("flight_delay", "champion")),
        ("m@previous", ByAlias("m", "previous")),
        ("m@challenger", ByAlias("m", "challenger")),
    ],
)
def test_a_name_is_read(text: str, means: object) -> None:
    assert parse_name(text) == means


@pytest.mark.parametrize(
    "text", ["", "ab12", "AB12CD", "sha256:", "m@0", "m@", "@3", "M@3", "m@1.0.0", "a b", "%%%%%%"]
)
def test_what_is_no_name_is_refused_with_what_is(text: str) -> None:
    with pytest.raises(ConfigError, match="accepted"):
        parse_name(text)


def test_a_misspelt_alias_is_told() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'm@champion'"):
        parse_name("m@champoin")
