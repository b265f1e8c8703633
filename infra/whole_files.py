"""Files that are whole whenever somebody reads them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from secrets import token_hex

from online_models.errors import InputError


def refuse_inputs(outputs: Iterable[str | Path | None], inputs: Iterable[str | Path | None]) -> None:
    """Raises InputError where one of the files to write is one that is read (a folder is read with all that lies below it), or stands there
    twice; None, ``-`` and what is no file do not matter."""
    files = [
        path for path in outputs if path and str(path) != "-" and (not Path(path).exists() or Path(path).is_file())
    ]
    if not files:
        return
    read = {os.path.realpath(file) for path in inputs if path is not None for file in (path, *files_below(Path(path)))}
    for path in files:
        target = os.path.realpath(path)
        if Path(target).is_symlink():  # one that leads to itself: all others are followed to their ends
            raise InputError("a file that can be written", f"{path}, which leads to itself", "choose another name")
        if target in read:
            raise InputError("files to write besides those to read, each once", str(path), "choose another name")
        read.add(target)


def files_below(folder: Path) -> Iterator[Path]:
    """What is no folder below ``folder``, and below the folders that links in it lead to; each folder once. None where it is none."""
    seen = set()
    for root, folders, files in os.walk(folder, followlinks=True):
        at = Path(root).stat()
        if (at.st_dev, at.st_ino) in seen:
            folders.clear()
            continue
        seen.add((at.st_dev, at.st_ino))
        yield from (Path(root, name) for name in files)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or whoever comes after a crash, finds all of it or what was there before.

    What is no file (a pipe, a terminal) is written to as it is. Raises InputError where it cannot be written.
    """
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
            return
        target = path.resolve()  # behind a link, which stays one
        temporary = target.with_name(f".{target.name}.{token_hex(8)}.tmp")
        try:
            with temporary.open("xb") as file:  # a new one: nobody has put a link there
                file.write(content)
                file.flush()
                if target.exists():
                    os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise InputError("a file that can be written", f"{path} ({error.strerror})", "choose another name") from None
