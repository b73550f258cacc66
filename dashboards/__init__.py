"""Everything that consumes metric names: alert rules, their tests and runbooks, and dashboards, as code."""
