"""The gateway, of which some versions take their time: ``python _slow.py 2:0.2 --replica ...``; for faults on purpose.

A version that waits holds its thread and takes no processor time. It is loaded and warmed up as usual, and may be ended
by ONNX Runtime's run options, as a graph may be that has many nodes.
"""

from __future__ import annotations

import sys
import time
from typing import Any

NODE_S = 0.005


def main() -> int:
    """Run it."""
    from modelyard.serving import __main__ as gateway
    from modelyard.serving import loading

    slow = {int(version): float(s) for version, s in (each.split(":") for each in sys.argv[1].split(","))}

    class Slow(loading.Scorer):
        warm = False

        def warm_up(self, *args: Any) -> None:
            super().warm_up(*args)
            self.warm = True

        def score(self, rows: Any, options: Any = None) -> Any:
            until = time.perf_counter() + slow.get(self.version, 0.0) * self.warm
            while (left := until - time.perf_counter()) > 0:
                if options is not None and options.terminate:
                    raise RuntimeError("ended between two nodes")
                time.sleep(min(left, NODE_S))
            return super().score(rows, *([] if options is None else [options]))

    loading.Scorer = Slow  # type: ignore[misc]
    return gateway.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
