"""The supervisor's configuration, read back by its own reader's rules."""

from __future__ import annotations

from configparser import RawConfigParser

import pytest

from modelyard.core.errors import ConfigError
from modelyard.runtime.config import RuntimeConfig
from modelyard.runtime.render import supervisord_conf
from modelyard.runtime.spec import ProcessSpec, services


def read(text: str) -> RawConfigParser:
    parser = RawConfigParser(inline_comment_prefixes=(";",), strict=True)
    parser.read_string(text)
    return parser


def test_one_program_per_service(config: RuntimeConfig) -> None:
    parser = read(supervisord_conf(config, services(config), root_user=False))
    programs = [name.removeprefix("program:") for name in parser.sections() if name.startswith("program:")]
    assert programs == [s.name for s in services(config)]
    assert parser["unix_http_server"]["chmod"] == "0700"
    assert "user" not in parser["supervisord"]


def test_postgres_stops_by_itself_and_the_rest_as_groups(config: RuntimeConfig) -> None:
    parser = read(supervisord_conf(config, services(config), root_user=True))
    assert parser["supervisord"]["user"] == "root"
    postgres, airflow = parser["program:postgres"], parser["program:airflow-scheduler"]
    assert (postgres["stopsignal"], postgres["stopasgroup"]) == ("INT", "false")
    assert (airflow["stopsignal"], airflow["stopasgroup"]) == ("TERM", "true")
    assert {parser[s]["killasgroup"] for s in parser.sections() if s.startswith("program:")} == {"true"}
    assert {parser[s]["autorestart"] for s in parser.sections() if s.startswith("program:")} == {"true"}


def test_percent_signs_survive(config: RuntimeConfig) -> None:
    spec = ProcessSpec(name="x", command=("run", "100%"), env={"RATE": "5%"})
    program = read(supervisord_conf(config, (spec,), root_user=False))["program:x"]
    assert program["command"].endswith("run 100%%")
    assert 'RATE="5%%"' in program["environment"]
    assert "%(ENV_PATH)s" in program["environment"]


@pytest.mark.parametrize("value", ['a"b', "a\nb", "a\\b", "a ;b"])
def test_a_value_that_the_format_cannot_carry_is_refused_unseen(config: RuntimeConfig, value: str) -> None:
    spec = ProcessSpec(name="x", command=("run",), env={"KEY": value})
    with pytest.raises(ConfigError, match="KEY = '<hidden>'"):
        supervisord_conf(config, (spec,), root_user=False)
