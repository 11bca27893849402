"""Small helpers shared by the ledger's parts."""

from __future__ import annotations

import json
from typing import Any

from modelyard.core.value import Value


def body_of(value: Value) -> Any:
    """The JSON body that is stored for a value."""
    return value.to_dict()


def text_of(body: Any) -> str:
    """A stored body as JSON text, for ``from_json``."""
    return json.dumps(body)
