"""Who may read what lies in the state folder: this user, and of adapters a group, if engines run as somebody else.

`switchyard` sets its umask, so what it makes is private; here is what was there before, and what engines must read.
"""

from __future__ import annotations

import grp
import os
import stat
from contextlib import suppress
from pathlib import Path

from registry.errors import InvalidInput

OTHERS = 0o077


def private_folder(path: Path) -> Path:
    """Make a folder that is this user's alone, or make one so that is there and belongs to this user."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.stat()
    if found.st_mode & OTHERS and found.st_uid == os.geteuid():
        path.chmod(found.st_mode & 0o777 & ~OTHERS)
    return path


def private_file(path: Path) -> None:
    """Likewise a file, which is not opened: to close a database's file would drop this process's locks on it.

    SQLite gives its log and its index the mode of its database.
    """
    with suppress(FileExistsError):
        os.mknod(path, stat.S_IFREG | 0o600)
    found = path.stat()
    if found.st_mode & OTHERS and found.st_uid == os.geteuid():
        path.chmod(found.st_mode & 0o777 & ~OTHERS)


def adapters_folder(state_dir: Path, folder: Path, group: str | None) -> None:
    """Make the folder of materialised adapters, which the members of `group` may read, in a state folder that they may
    pass through. Raises `InvalidInput` for a group that there is not, or that this user is no member of.
    """
    if group is None:
        private_folder(folder)
        return
    try:
        number = grp.getgrnam(group).gr_gid
        folder.mkdir(parents=True, exist_ok=True)
        _let_in(state_dir, number, 0o010)
        _let_in(folder, number, 0o2050)  # what is made in it is of the same group
    except KeyError:
        raise InvalidInput(
            f"engine_group is {group!r}, and there is no such group here", param="engine_group"
        ) from None
    except OSError as error:
        raise InvalidInput(
            f"engine_group is {group!r}, and {error.filename} cannot be given to it ({error.strerror}); this user must "
            "own the folder and be a member of the group",
            param="engine_group",
        ) from error


def _let_in(folder: Path, group: int, mode: int) -> None:
    found = folder.stat()
    if found.st_gid != group:
        os.chown(folder, -1, group)
    if found.st_mode & mode != mode:
        folder.chmod(found.st_mode & 0o7777 & ~0o007 | mode)


def seal(folder: Path) -> None:
    """Make a folder of an adapter read-only, for those who may read the folder that it lies in."""
    shared = folder.parent.stat().st_mode & 0o050 == 0o050
    for path in folder.iterdir():
        path.chmod(0o440 if shared else 0o400)
    folder.chmod(0o750 if shared else 0o700)
