"""Files that are read while they are written again: whole, or as they were."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from infra.whole_files import files_below, refuse_inputs, write_whole
from online_models.errors import InputError

LARGE = 1 << 20


def test_who_reads_finds_one_of_them_whole(tmp_path: Path) -> None:
    path, over = tmp_path / "page.html", threading.Event()
    write_whole(path, b"a" * LARGE)

    def write() -> None:
        for n in range(40):
            write_whole(path, (b"b" if n % 2 else b"a") * LARGE)
        over.set()

    thread = threading.Thread(target=write)
    thread.start()
    found = set()
    while not over.is_set():
        content = path.read_bytes()
        found.add((len(content), content.count(content[:1])))
    thread.join()
    assert found == {(LARGE, LARGE)}
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_link_stays_one(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write_whole(tmp_path / "link", b"x")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "file").read_bytes() == b"x"


def test_who_may_read_it_stays_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    write_whole(file, b"one")
    (tmp_path / "plain").write_bytes(b"")
    assert file.stat().st_mode == (tmp_path / "plain").stat().st_mode
    file.chmod(0o604)
    write_whole(file, b"two")
    assert stat.S_IMODE(file.stat().st_mode) == 0o604


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    write_whole(pipe, b"x")
    reader.join()
    assert found == [b"x"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_where_it_cannot_stand_is_said_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "none" / "x", tmp_path / "folder"):
        with pytest.raises(InputError, match=r"a file that can be written, got .*; choose another name"):
            write_whole(path, b"x")
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_what_is_read_is_not_written_over(tmp_path: Path) -> None:
    log, link, other = tmp_path / "log.jsonl", tmp_path / "link", tmp_path / "other"
    log.touch()
    link.symlink_to(log)
    refuse_inputs((None, "-", "-", other, "/dev/null", "/dev/null"), (log, None))
    for outputs in ((log,), (None, str(link)), (other, other), (tmp_path / "." / "log.jsonl",)):
        with pytest.raises(InputError, match="expected files to write besides those to read, each once, got"):
            refuse_inputs(outputs, (log,))


def test_a_link_that_leads_to_itself_is_no_file_to_write_and_none_to_read(tmp_path: Path) -> None:
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    refuse_inputs((tmp_path / "out",), (loop,))
    with pytest.raises(InputError, match=r"a file that can be written, got .*, which leads to itself"):
        refuse_inputs((loop,), ())


def test_files_behind_links_are_below_a_folder_however_the_links_go_round(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    for path in (folder / "a" / "b", other / "c"):
        path.mkdir(parents=True)
        (path / "file").touch()
    (folder / "link").symlink_to(other)
    (folder / "twice").symlink_to(other / "c")
    (other / "back").symlink_to(folder)
    (other / "to file").symlink_to(folder / "a" / "b" / "file")
    (folder / "loop").symlink_to(folder / "loop")
    found = list(files_below(folder))
    assert len(found) == len(set(found)) == 4
    ends = {folder / "a" / "b" / "file", other / "c" / "file", folder / "loop"}
    assert {Path(os.path.realpath(path)) for path in found} == ends
    assert list(files_below(tmp_path / "none")) == []
