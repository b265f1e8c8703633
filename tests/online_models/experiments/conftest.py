"""What pytest leaves alone here: a script with packages of its own."""

collect_ignore = ["make_reference.py"]
