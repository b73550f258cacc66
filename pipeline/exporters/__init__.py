"""Where forecasts, alerts and metrics go."""
