"""Alert rules and recording rules as code, and the cases that promtool tests them with."""
