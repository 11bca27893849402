"""The token by which the platform's own questions are known from users'.

It is derived from the admin token, so that there is nothing more to hand out, and cannot be turned back into it: what
goes through the edge opens no admin API.
"""

from __future__ import annotations

import hmac

HEADER = "X-Modelyard-Probe"


def probe_token(admin_token: str) -> str:
    """The probe token that goes with an admin token: HMAC-SHA-256, in hexadecimal."""
    return hmac.digest(admin_token.encode(), b"modelyard probe", "sha256").hex()
