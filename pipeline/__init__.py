"""What moves readings: sources, the engine, exporters and stores around the forecasters."""
