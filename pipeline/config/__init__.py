"""The configuration: one TOML file and the variables GATECAST_<SECTION>__<KEY>, which win over it."""

from pipeline.config.errors import ConfigError, suggest
from pipeline.config.loading import Resolved, load_config, resolve_config
from pipeline.config.model import Config

__all__ = ["Config", "ConfigError", "Resolved", "load_config", "resolve_config", "suggest"]
