"""The page as text: one HTML document that asks for nothing else, neither a script nor a font nor a picture."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

from extract.settings import without_secrets
from extract.tables import load_config
from extract.warehouse import Warehouse
from scripts.page.facts import read_facts
from scripts.page.lineage import lineage
from scripts.page.sections import sections
from scripts.status import Status
from scripts.status_text import LATENESS_HEADER, facts, in_short, lateness_rows, verdict


def render_page(warehouse: Warehouse, status: Status) -> str:
    """The page of a status, as of its moment. No password of the settings stands in it. Raises WarehouseError."""
    shown = read_facts(warehouse, status)
    environment = Environment(
        loader=PackageLoader("scripts.page", "."),
        autoescape=True,  # what a source's row or an error says is text, never part of the page
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["in_short"] = in_short
    page = environment.get_template("page.html.j2").render(
        status=status,
        verdict=verdict(status),
        lateness_header=LATENESS_HEADER,
        lateness=lateness_rows(status),
        facts=facts(status),
        sections=sections(shown, lineage(load_config())),
    )
    return without_secrets(page)
