"""What stands in for a plant and its Kafka where there is none."""
