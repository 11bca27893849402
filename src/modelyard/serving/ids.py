"""The id of a request: the client's own (``X-Request-ID``) where it sends one, else one of ours."""

from __future__ import annotations

import re
from collections.abc import Sequence

from modelyard.serving.errors import Refusal

HEADER = b"x-request-id"
ACCEPTED = "1 to 128 letters, digits and . _ : -"
_SAFE = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
"""As ``deploy/haproxy.cfg`` has it. None of these needs escaping, in JSON, in a header or in a log."""


def safe(given: bytes) -> bool:
    """Whether an id may be taken as it is."""
    return _SAFE.fullmatch(given) is not None


def request_id(headers: Sequence[tuple[bytes, bytes]]) -> str:
    """The id that the client gave; empty where it gave none.

    Raises:
        Refusal: 400, it is not acceptable, or there are two. Replacing it would leave the client with an id by which
            nothing can be found.
    """
    given = [value for name, value in headers if name == HEADER]
    if not given:
        return ""
    if len(given) > 1 or not safe(given[0]):
        shown = b", ".join(given)[:100].decode("latin-1")
        message = f"X-Request-ID = {shown!r} is not accepted (accepted: one of {ACCEPTED}, or none)"
        raise Refusal(400, "invalid_request_id", message, field="X-Request-ID", value=shown, accepted=ACCEPTED)
    return given[0].decode()
