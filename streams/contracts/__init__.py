"""Wire records and topic names. A leaf: imports nothing of ours, so every part of the system can share it."""
