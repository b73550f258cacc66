"""`gatecast run` as it is, but that an episode is shown for seconds and not for minutes after its end.

Waiting those minutes out would make the tests as long. Arguments are those of `gatecast`.
"""

from __future__ import annotations

from pipeline.exporters import active_alerts

active_alerts.SHOWN_AT_LEAST_S = 5.0
active_alerts.ENDED_FOR_S = 25.0
"""Two scrapes, at every 10 s, and an evaluation."""

if __name__ == "__main__":
    from pipeline.cli import main

    main()
