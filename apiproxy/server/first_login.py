"""File with the first password and API key, for installations without a terminal.

Printed, they would stay in the logs of the service (journald, `docker logs`).
"""

import os
from collections.abc import Iterator
from pathlib import Path

from apiproxy.keys.bootstrap import FirstSecrets

FILE_NAME = "first-login.txt"
_MODE = 0o600
_MAX_FILES = 100
# Neither overwrites a file nor follows a symbolic link.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def write_first_login(folder: Path, first: FirstSecrets) -> Path:
    """Writes the secrets to a new file with mode 0600 and returns its path. Raises OSError.

    Takes the next free name where an earlier file was not deleted, or a symbolic link is in its place.
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
            path.unlink(missing_ok=True)  # else a partial file would block the name
            raise
        return path
    raise FileExistsError(f"{folder / FILE_NAME} and {_MAX_FILES - 1} more exist already: delete them.")


def _paths(folder: Path) -> Iterator[Path]:
    yield folder / FILE_NAME
    stem, suffix = FILE_NAME.split(".")
    yield from (folder / f"{stem}-{number}.{suffix}" for number in range(2, _MAX_FILES + 1))


def _lines(first: FirstSecrets) -> Iterator[str]:
    yield "First login of claude-sdk-proxy, shown nowhere else. Save it, then delete this file."
    if first.admin_password:
        yield f"Administrator: {first.admin_name} / {first.admin_password}"
    if first.api_key:
        yield f"API key: {first.api_key}"
