"""What a demonstration needs beside the worker: a simulated plant, and a feed of readings into Kafka."""
