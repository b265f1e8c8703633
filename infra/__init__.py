"""Settings, command line, local services, metrics and pages: what runs Headrace, imported by nothing else."""
