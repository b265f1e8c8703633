"""Public logs in, our log format out: ``headrace import FORMAT PATH... -o LOG``.

    formats/*.py   one frozen description a public data set: how its files are laid out, what a row means
    sources.py     files, folders, ``.gz`` and ``.zip`` as streams of lines
    tables.py      delimited text          json_lines.py   JSON Lines          parquet_files.py   Parquet
    column_map.py  any file, by a column mapping
    times.py       times as people write them → milliseconds
    engine.py      the one loop: read, convert, validate, count, write
    sorted_log.py  sorts by time while it writes, on disk if need be
    tally.py       what was kept, what was dropped and why

Rows flow one at a time, so memory does not grow with the file.
"""
