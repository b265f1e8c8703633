"""Autotune: settings of sources and blend, searched on the first part of a log by replaying it."""
