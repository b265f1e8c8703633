"""The quality bench: protocols as plans, the pipeline run through them, and what came out as figures with intervals."""
