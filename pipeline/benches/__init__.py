"""Benchmarks: the engine alone, and from bytes of Kafka to forecasts and metrics."""
