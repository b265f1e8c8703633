"""Statistics of controlled experiments: from sums over units to what may be concluded. Knows numbers, not Kafka."""
