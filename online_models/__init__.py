"""Incremental models over ids and floats. Knows nothing of Kafka, Redis or JSON."""
