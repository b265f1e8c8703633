"""Read-out: what an experiment has shown so far, from the topics `events` and `recommendations` and nothing else."""
