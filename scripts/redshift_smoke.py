"""The first hour on a real cluster: what no stand-in can show, tried in schemas of its own that are dropped at the end.

`order-tracking redshift smoke` runs it. Each probe stands in scripts/redshift/.
"""

from __future__ import annotations

from collections.abc import Sequence

from extract.settings import RedshiftSettings
from extract.warehouse import Warehouse
from scripts.display import plural, tell
from scripts.redshift import cluster, loading, plans, project_sql, views
from scripts.redshift.names import without_names
from scripts.redshift.probe import Mark, Probe, scratch

PROBES = tuple(
    each
    for module in (cluster, loading, views, plans, project_sql)
    for each in vars(module).values()
    if isinstance(each, Probe)
)
"""In the order of the report: as they stand in their modules."""


def smoke(warehouse: Warehouse, settings: RedshiftSettings, probes: Sequence[Probe] = PROBES) -> bool:
    """Tries everything and prints a report that can be sent on: no host, user, bucket or password stands in it.

    Only a statement that is left to be run may name the user that the report made for itself.

    True if every line that judges says ok, and nothing was left behind.
    """
    tell(
        "What this cluster says. ok: as the project needs it. NO: it stands against it. ?: not known here, so not "
        "passed. -: only told.\n"
    )
    left: list[str] = []
    marks: list[Mark] = []
    try:
        with scratch(warehouse, settings, left) as place:
            for probe in probes:
                mark, words = probe.answer(place)
                marks.append(mark)
                words = without_names(settings.without_secrets(words), settings, [place.reader])
                tell(f"{mark.value:<3} {probe.name:<20} {words}")
                tell(f"{'':<24} {probe.meaning}")
    finally:
        for statement in left:
            words = without_names(settings.without_secrets(statement), settings)
            tell(f"{Mark.NO.value:<3} {'clean_up':<20} left behind; run: {words}")
    judged = [mark for mark, probe in zip(marks, probes, strict=True) if probe.judges]
    tell(
        f"\n{plural(judged.count(Mark.OK), 'line')} ok, {judged.count(Mark.NO) + len(left)} NO, "
        f"{judged.count(Mark.UNKNOWN)} not known here."
    )
    return not left and all(mark is Mark.OK for mark in judged)
