"""Files that a command writes where the user says: nothing else is overwritten, whatever path is given."""

from __future__ import annotations

import os
from pathlib import Path


def place_for(file: Path, begins: str) -> Path:
    """Where to write: the file itself, behind symbolic links.

    Raises OSError where it is a folder, or holds something else than what begins like this. A warehouse stays one.
    """
    if file.is_dir():
        raise IsADirectoryError("it is a folder")
    if not file.is_file():  # there is none yet, or it is a device
        return file
    with file.open("rb") as held:
        start = held.read(len(begins.encode()))
    if start and start != begins.encode():
        raise FileExistsError("there is another file, which this command did not write. Name another, or remove it")
    return file.resolve()


def replace(file: Path, data: bytes, begins: str) -> None:
    """Writes a file in one piece; what is no regular file, such as a device, is written into."""
    place = place_for(file, begins)
    if place.exists() and not place.is_file():
        place.write_bytes(data)
        return
    meanwhile = place.with_name(f".{place.name}.{os.getpid()}")
    try:
        meanwhile.write_bytes(data)
        meanwhile.replace(place)
    finally:
        meanwhile.unlink(missing_ok=True)
