"""The first administrator's password and the first key, in a file where no terminal shows them.

What a service writes to its output is kept: journald and `docker logs` have it for as long as they have anything.
"""

import os
from collections.abc import Iterator
from pathlib import Path

from apiproxy.keys.bootstrap import FirstSecrets

FILE_NAME = "first-login.txt"
_MODE = 0o600
_MAX_FILES = 100
# Never an existing file, and never through a link, to wherever that leads.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def keep_first_login(folder: Path, first: FirstSecrets) -> Path:
    """Writes the secrets to a new file, which only this user can read, and returns its path. Raises OSError.

    Where an earlier one was not deleted, or somebody has put a link in its place, the next free name is taken.
    """
    for path in _paths(folder):
        try:
            descriptor = os.open(path, _FLAGS, _MODE)
        except FileExistsError:
            continue
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.writelines(f"{line}\n" for line in _lines(first))
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            path.unlink(missing_ok=True)  # half of it would be of no use, and in the next one's way
            raise
        return path
    raise FileExistsError(f"{folder / FILE_NAME} and {_MAX_FILES - 1} more are there already: delete them.")


def _paths(folder: Path) -> Iterator[Path]:
    yield folder / FILE_NAME
    stem, suffix = FILE_NAME.split(".")
    yield from (folder / f"{stem}-{number}.{suffix}" for number in range(2, _MAX_FILES + 1))


def _lines(first: FirstSecrets) -> Iterator[str]:
    yield "The first login of claude-sdk-proxy. It is shown nowhere else: keep it, and delete this file."
    if first.admin_password:
        yield f"Administrator: {first.admin_name} / {first.admin_password}"
    if first.api_key:
        yield f"API key: {first.api_key}"
