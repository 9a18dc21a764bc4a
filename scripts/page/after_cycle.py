"""The page after each cycle, where STATUS_PAGE asks for one. It never fails a cycle: what goes wrong is a warning."""

from __future__ import annotations

from contextlib import suppress

from extract.clock import Clock
from extract.errors import ConfigurationError, PageNotWritten, in_words
from extract.settings import read_settings, without_secrets
from extract.tables import load_config
from scripts.cycle_log import kept_rows
from scripts.reading import warehouse_to_read
from scripts.status import read_status


def page_place(gateway: str) -> str | None:
    """What STATUS_PAGE says: a file or s3://bucket/key. None where no page is wanted, or the settings are wrong."""
    with suppress(ConfigurationError):
        return read_settings(gateway).status_page
    return None


def write_page_at(place: str, gateway: str, clock: Clock) -> list[str]:
    """Writes the page; gives a warning where it could not. The warehouse is opened once more, to read."""
    try:
        from scripts.page.place import write_page
        from scripts.page.render import render_page

        settings = read_settings(gateway)
        with warehouse_to_read(gateway) as warehouse:
            page = render_page(warehouse, read_status(warehouse, load_config(), clock, kept_rows(gateway)))
        write_page(page, place, settings.redshift)
    except PageNotWritten as error:
        return [without_secrets(f"{in_words(error)} No cycle fails by that; correct STATUS_PAGE.")]
    except Exception as error:
        cause = without_secrets(" ".join(in_words(error).split()))
        return [f"The status page {place} (STATUS_PAGE) was not written, the next cycle writes it: {cause}"]
    return []
