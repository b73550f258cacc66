"""Benchmarks beside that of the engine (`pipeline.bench`): from bytes of Kafka to forecasts and metrics."""
