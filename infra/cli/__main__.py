"""``python -m infra.cli``: the ``headrace`` command by the interpreter that runs this."""

from infra.cli import main

main()
