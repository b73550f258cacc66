"""The Grafana dashboards as code; `build.build_boards` makes their JSON."""
