"""Where the page goes: a file, or an object of S3."""

from __future__ import annotations

import re
from pathlib import Path

from extract.errors import PageNotWritten, WarehouseError, in_words
from extract.s3_parts import put_object
from extract.settings import RedshiftSettings, in_project
from scripts.written_files import replace

PAGE_BEGINS = "<!doctype html>"
ADDRESS = re.compile(r"s3://[^/\s]+/\S*[^/\s]")


def write_page(page: str, place: str | Path, settings: RedshiftSettings | None) -> None:
    """Puts the page there in one piece: who opens it meanwhile sees the one before, or this one.

    Args:
        place: A file (a relative one is the project's), or s3://bucket/key.
        settings: Where the objects of the gateway redshift go by; None on the gateway local.

    Raises PageNotWritten, with the cause.
    """
    data = page.encode()
    try:
        if str(place).startswith("s3:"):
            if not ADDRESS.fullmatch(str(place)):
                raise PageNotWritten(f"The status page cannot be written: {place} is no s3://bucket/key.")
            put_object(str(place), data, "text/html; charset=utf-8", settings)
        else:
            replace(in_project(place), data, PAGE_BEGINS)
    except OSError as error:
        cause = error.strerror or in_words(error)
        raise PageNotWritten(f"The status page cannot be written to {place}: {cause}.") from error
    except WarehouseError as error:
        raise PageNotWritten(f"The status page cannot be written to {place}: {in_words(error)}.") from error
