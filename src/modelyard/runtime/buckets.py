"""Makes buckets in the S3-compatible store; one that exists is left alone.

``python -m modelyard.runtime.buckets NAME...``, with AWS's usual variables in the environment.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable

import fsspec


def make_buckets(names: Iterable[str]) -> list[str]:
    """Returns the names of those that were new."""
    store = fsspec.filesystem("s3")
    new = [name for name in names if not store.exists(name)]
    for name in new:
        store.mkdir(name)
    return new


if __name__ == "__main__":
    print("new buckets:", ", ".join(make_buckets(sys.argv[1:])) or "none")
