"""Experiments: who is shown what, and what it was worth. Pure numbers: knows neither Kafka nor Redis."""
