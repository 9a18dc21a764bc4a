"""What must be where: the rules of the project in dicts and sets, slow and plain, sharing no code with it.

Rows are tuples in the order of the source's columns. Whatever the project does for the sake of speed (intervals on
the sort key, only this cycle's departures, only raw where raw is enough) is left out here: the oracle always looks at
everything. So it also says that those short cuts change nothing.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

QUARTER, HOUR, DAY = 900, 3600, 86400
BUFFER = 30 * 60
LONG_WINDOW = DAY
RAW_RETENTION = 35 * DAY
GRACE = 2 * QUARTER
TOLERANCE = 60
YEAR_2100 = 4_102_444_800

UTI, ECS, UTS = "uni_tracking_info", "ecs_order_info", "uni_tracking_spath"
COLUMNS = {
    UTI: ("order_id", "tno", "status", "update_time"),
    ECS: ("order_id", "partner_id", "add_time"),
    UTS: ("order_id", "pathtime", "code", "traceseq"),
}
TIME = {UTI: 3, ECS: 2, UTS: 1}
"""Where in a row its event time stands."""

Row = tuple[Any, ...]

Difference = tuple[tuple[int, ...], tuple[Counter[Row], Counter[Row]]]
"""By how much the source has more than is held in an hour: in sums, and the rows that only one of the two has."""


@dataclass(frozen=True)
class Version:
    """A row, and when it arrived: within one quarter-hour a microsecond later with each extract."""

    row: Row
    landed: float


@dataclass(frozen=True)
class Archived:
    """A row in history, the half-year that it lies in, and the end of the interval that put it there."""

    period: str
    version: Version
    at: int


@dataclass
class Oracle:
    """The source, and a warehouse as it must be. All times are epoch seconds, UTC."""

    planned_at: int
    history_start: str
    retention_months: int = 6
    source: dict[str, Counter[Row]] = field(default_factory=lambda: {name: Counter() for name in COLUMNS})
    raw: dict[str, set[Version]] = field(default_factory=lambda: {name: set() for name in COLUMNS})
    rejected: dict[tuple[str, str], tuple[int | None, str]] = field(default_factory=dict)
    rejected_at: dict[tuple[str, str], float] = field(default_factory=dict)
    uti: dict[int, Version] = field(default_factory=dict)
    ecs: dict[int, Version] = field(default_factory=dict)
    uts: dict[Row, Version] = field(default_factory=dict)
    history_uti: dict[int, list[Archived]] = field(default_factory=dict)
    """Order number -> what is archived of it: more than one where the number was given to another order."""
    history_ecs: dict[int, list[Archived]] = field(default_factory=dict)
    history_uts: dict[Row, Archived] = field(default_factory=dict)
    watermarks: dict[str, int] = field(default_factory=dict)
    arrived: dict[str, float] = field(default_factory=dict)
    """Table -> the stamp of the last rows of it that landed or were set aside."""
    open: dict[Row, int] = field(default_factory=dict)
    """(check, table, order, detail) -> when it was last seen."""
    closed: Counter[Row] = field(default_factory=Counter)
    ever: dict[str, Counter[Row]] = field(default_factory=lambda: {name: Counter() for name in COLUMNS})
    """Everything that ever landed, as often as it did."""
    counts: Counter[str] = field(default_factory=Counter)

    unequal: dict[str, dict[int, Difference]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        before = self.planned_at // QUARTER * QUARTER - QUARTER
        self.reached, self.reached_day = before, before // DAY * DAY
        self.last: tuple[int, int] | None = None

    # Extract

    def extract(self, now: int, *, since: int | None = None, outage: str | None = None) -> None:
        """Lands each table, but not the one that the source fails to give."""
        for table in COLUMNS:
            rows, moves = self.rows_read(table, now, since)
            if table != outage:
                self.land(table, rows, now, moves)
        if since is not None:
            for table in COLUMNS:
                self.remember(table, since // HOUR * HOUR, now)

    def rows_read(self, table: str, now: int, since: int | None) -> tuple[list[Row], bool]:
        """What an extract reads, and whether all before it has landed, so that the watermark may move."""
        watermark = self.watermarks.get(table)
        if since is not None:
            return self.rows_of_hours_that_differ(table, since // HOUR * HOUR, content=True), False
        if watermark is None:
            return self.rows_of_hours_that_differ(table, 0), True
        first = min(watermark, now) - BUFFER
        if first < now - LONG_WINDOW:
            return self.rows_of_hours_that_differ(table, first, seen_until=watermark), True
        rows = [row for row in self.source[table] if not placeable(table, row) or row[TIME[table]] >= first]
        return rows, True

    def rows_of_hours_that_differ(
        self, table: str, since: int, seen_until: int = 0, *, content: bool = False
    ) -> list[Row]:
        """And of all hours from `since` to `seen_until`. `content`: where any value differs, not only key and time, but
        for what could not be made equal before."""
        differences = self.differences(table, since)
        known = self.unequal.get(table, {}) if content else {}
        differ = {
            hour
            for hour, (of_keys, of_rows) in differences.items()
            if any(of_keys) or (content and of_rows != (Counter(), Counter()))
            if known.get(hour) != (of_keys, of_rows)
        }
        return [
            row
            for row in self.source[table]
            if not placeable(table, row)
            or row[TIME[table]] // HOUR in differ
            or (row[TIME[table]] // HOUR in differences and row[TIME[table]] // HOUR * HOUR <= seen_until)
        ]

    def differences(self, table: str, since: int) -> dict[int, Difference]:
        """Hour -> by how much the source has more than is held, in sums and in rows; all hours that either has."""
        there: dict[int, list[Row]] = {}
        for row in self.source[table].elements():
            if placeable(table, row) and row[TIME[table]] >= since:
                there.setdefault(row[TIME[table]] // HOUR, []).append(row)
        here: dict[int, list[Row]] = {}
        for row in self.held_once(table):
            if row[TIME[table]] >= since:
                here.setdefault(row[TIME[table]] // HOUR, []).append(row)
        found: dict[int, Difference] = {}
        for hour in {*there, *here}:
            shown, held = there.get(hour, []), here.get(hour, [])
            more = (Counter(shown) - Counter(held), Counter(held) - Counter(shown))
            sums = zip(tally(table, shown), tally(table, held), strict=True)
            found[hour] = (tuple(a - b for a, b in sums), more)
        return found

    def remember(self, table: str, since: int, now: int) -> None:
        """What a reconcile could not make equal, by the hour, but for the hours that still move."""
        known = {hour: each for hour, each in self.unequal.get(table, {}).items() if hour < since // HOUR}
        for hour, (of_keys, of_rows) in self.differences(table, since).items():
            if hour < (now - GRACE) // HOUR and (any(of_keys) or of_rows != (Counter(), Counter())):
                known[hour] = (of_keys, of_rows)
        self.unequal[table] = known

    def held_once(self, table: str) -> list[Row]:
        """Every scan held, or the newest version held of every order."""
        held = self.held(table)
        if table == UTS:
            return [version.row for version in held]
        newest: dict[int, Version] = {}
        for version in held:
            best = newest.setdefault(version.row[0], version)
            newest[version.row[0]] = max(best, version, key=lambda each: (each.row[TIME[table]], each.landed))
        return [version.row for version in newest.values()]

    def held(self, table: str) -> set[Version]:
        """The versions in raw, mart and history."""
        return {*self.raw[table], *self.settled_versions(table)}

    def settled_versions(self, table: str) -> set[Version]:
        """The versions in mart and history."""
        marts = {UTI: self.uti, ECS: self.ecs, UTS: self.uts}
        histories = {
            UTI: chain.from_iterable(self.history_uti.values()),
            ECS: chain.from_iterable(self.history_ecs.values()),
            UTS: self.history_uts.values(),
        }
        return {*marts[table].values(), *(each.version for each in histories[table])}

    def land(self, table: str, rows: list[Row], now: int, moves_watermark: bool) -> None:
        """Keeps apart what cannot be loaded, and stamps and keeps what is not held yet."""
        stamp: float = now // QUARTER * QUARTER - 1
        if self.arrived.get(table, 0) >= stamp:
            stamp = round(self.arrived[table] + 1e-6, 6)
        good = []
        for row in rows:
            reason = fault(table, row)
            if reason is None:
                good.append(row)
            else:
                self.rejected.setdefault((table, payload(table, row)), (row[0], reason))
                self.rejected_at.setdefault((table, payload(table, row)), stamp)
                self.arrived[table] = stamp
        for row in self.to_land(table, good):
            self.raw[table].add(Version(row, stamp))
            self.arrived[table] = stamp
            self.ever[table][row] += 1
        past = [row[TIME[table]] for row in good if row[TIME[table]] <= now]
        if past and moves_watermark:
            self.watermarks[table] = max(self.watermarks.get(table, 0), *past)

    def to_land(self, table: str, good: list[Row]) -> list[Row]:
        """Of an order's rows of one second one counts, and the version of that second that landed last is held."""
        held = self.held(table)
        if table == UTS:
            rows = {version.row for version in held}
            return [row for row in good if row not in rows]
        last: dict[tuple[int, int], float] = {}
        for version in held:
            second = (version.row[0], version.row[TIME[table]])
            last[second] = max(last.get(second, 0), version.landed)
        rows = {v.row for v in held if v.landed == last[v.row[0], v.row[TIME[table]]]}
        shown: dict[tuple[int, int], Row] = {}
        for row in good:
            second = (row[0], row[TIME[table]])
            shown[second] = max(shown.get(second, row), row, key=lambda each: tuple(map(null_last, each)))
        return [row for row in shown.values() if row not in rows]

    def restorable(self) -> list[int]:
        """Active orders whose own metadata only history holds: not that of an earlier order under their number."""
        return sorted(
            order
            for order in self.uti
            if order not in self.ecs and order in self.history_ecs and not self.is_of_a_namesake(order)
        )

    def is_of_a_namesake(self, order: int) -> bool:
        """The newest archived metadata of an active number was created with an earlier order, not after its end."""
        newest = max(each.version.row[2] for each in self.history_ecs[order])
        return any(not created_later(newest, each.version.row[3]) for each in self.history_uti.get(order, []))

    def restore(self, orders: list[int], now: int) -> None:
        """An operator lands archived metadata in raw again."""
        stamp = now // QUARTER * QUARTER - 1
        for order in set(orders) & set(self.restorable()):
            if not any(version.row[0] == order and version.landed == stamp for version in self.raw[ECS]):
                newest = max((each.version for each in self.history_ecs[order]), key=ecs_age)
                self.raw[ECS].add(Version(newest.row, stamp))
                self.arrived[ECS] = max(self.arrived.get(ECS, 0), stamp)

    # Marts

    def run(self, now: int) -> None:
        """Every mart takes what has landed since it last ran and one quarter-hour before, then retention."""
        end = now // QUARTER * QUARTER
        if end > self.reached:
            start = self.reached - QUARTER
            self.run_uti(start, end)
            self.run_ecs(start, end)
            self.run_uts(start, end)
            self.reached, self.last = end, (start, end)
        midnight = now // DAY * DAY
        if midnight > self.reached_day:
            self.check(midnight, now)
            self.reached_day = midnight

    def repeat(self) -> None:
        """The marts' last interval once more: nothing changes, unless something landed in it meanwhile."""
        if self.last is not None:
            self.run_uti(*self.last)
            self.run_ecs(*self.last)
            self.run_uts(*self.last)

    def batch(self, table: str, start: int, end: int) -> list[Version]:
        return [version for version in self.raw[table] if start <= version.landed < end]

    def cutoff(self, end: int) -> int:
        """Six calendar months before the newest status, or before the end of the interval where that is earlier.

        While no status is known nothing has aged.
        """
        newest = self.newest(end)
        return months_before(newest, self.retention_months) if newest else 0

    def newest(self, end: int) -> int:
        return min(max((version.row[3] for version in self.uti.values()), default=0), end)

    def run_uti(self, start: int, end: int) -> None:
        for new in sorted(self.batch(UTI, start, end), key=uti_age):
            order = new.row[0]
            if order not in self.uti or uti_age(new) >= uti_age(self.uti[order]):
                self.uti[order] = new
        cutoff = self.cutoff(end)
        for order in {version.row[0] for version in self.batch(UTI, start, end)} & self.history_uti.keys():
            self.clean_uti(order, end)
        unrouted: Counter[str] = Counter()
        for order, version in list(self.uti.items()):
            if version.row[3] >= cutoff:
                continue
            period = half_year(version.row[3])
            of_it = [each.version for each in self.history_uti.get(order, []) if same_order(each.version, version)]
            if any(uti_age(archived) >= uti_age(version) for archived in of_it):
                del self.uti[order]  # history holds this version, or a newer one
            elif period >= self.history_start:
                self.history_uti.setdefault(order, []).append(Archived(period, version, end))
                del self.uti[order]
                self.counts["archived"] += 1
            else:
                unrouted[period] += 1
        self.unrouted("mart_uni_tracking_info", unrouted, end)
        self.forget_raw(UTI, start, end)

    def clean_uti(self, order: int, end: int) -> None:
        """Of an order that came back its archived status leaves history; that of another order stays, and is told."""
        here = self.uti[order]
        kept, superseded, earlier = [], False, []
        for each in self.history_uti[order]:
            age, another = uti_age(each.version), self.another(each.version, here, self.created(order, self.raw[ECS]))
            if another:
                earlier.append(each.version.row[3])
                self.counts["used again"] += 1
            if age > uti_age(here):
                superseded = superseded or same_order(each.version, here)  # history holds a newer version
                kept.append(each)
            elif another or age == uti_age(here):
                kept.append(each)
            else:
                self.counts["came back"] += 1
        if earlier:
            finding = number_reused(order, max(earlier))
            for same in [key for key in self.open if about(key) == about(finding)]:
                del self.open[same]
            self.open[finding] = end
        if kept:
            self.history_uti[order] = kept
        else:
            del self.history_uti[order]
        if superseded:
            del self.uti[order]

    def created(self, order: int, landed: Iterable[Version] = ()) -> set[int]:
        """When the orders of a number were created, by all of its metadata."""
        archived = [each.version for each in self.history_ecs.get(order, [])]
        versions = [*landed, *archived, *([self.ecs[order]] if order in self.ecs else [])]
        return {version.row[2] for version in versions if version.row[0] == order}

    def another(self, archived: Version, present: Version, created: set[int]) -> bool:
        """They are statuses of two orders: by tracking number, or as one was created after the other's last status."""
        told = len(created) > 1 or (bool(created) and is_blank(archived.row[1]))
        return not same_order(archived, present) or (told and created_later(max(created), archived.row[3]))

    def is_later_metadata(self, order: int, version: Version) -> bool:
        """History holds metadata of the number that is older: this one waits for the status of its own order."""
        return any(each.version.row[2] < version.row[2] for each in self.history_ecs[order])

    def run_ecs(self, start: int, end: int) -> None:
        for new in sorted(self.batch(ECS, start, end), key=ecs_age):
            order = new.row[0]
            if order not in self.ecs or ecs_age(new) >= ecs_age(self.ecs[order]):
                self.ecs[order] = new
        for order, version in list(self.ecs.items()):
            last = max((each for each in self.history_uti.get(order, [])), key=archived_at_time, default=None)
            before = last is not None and not created_later(version.row[2], last.version.row[3])
            active = order in self.uti and not before  # what history holds of an active number is another order's
            self.history_ecs[order] = [
                each
                for each in self.history_ecs.get(order, [])
                if each.version.row[2] != version.row[2]
                or ecs_age(each.version) > ecs_age(version)
                or (ecs_age(each.version) == ecs_age(version) and not active)
            ]
            if last is not None and not active and (before or not self.is_later_metadata(order, version)):
                if not any(each.version.row[2] == version.row[2] for each in self.history_ecs[order]):
                    self.history_ecs[order].append(Archived(last.period, version, end))
                del self.ecs[order]
        self.history_ecs = {order: archived for order, archived in self.history_ecs.items() if archived}
        self.forget_raw(ECS, start, end)

    def run_uts(self, start: int, end: int) -> None:
        cutoff = self.cutoff(end)
        for new in sorted(self.batch(UTS, start, end), key=lambda version: version.landed):
            if new.row not in self.uts and new.row not in self.history_uts:
                self.uts[new.row] = new
        unrouted: Counter[str] = Counter()
        for row, version in list(self.uts.items()):
            if row[1] >= cutoff:
                continue
            period = half_year(row[1])
            if period >= self.history_start:
                self.history_uts[row] = Archived(period, version, end)
                del self.uts[row]
            else:
                unrouted[period] += 1
        self.unrouted("mart_uni_tracking_spath", unrouted, end)
        self.forget_raw(UTS, start, end)

    def forget_raw(self, table: str, start: int, end: int) -> None:
        """Consumed raw rows past their retention, by whole days; what is dated later than that stays."""
        floor = max(self.newest(end) - RAW_RETENTION, 0) // DAY * DAY
        self.raw[table] = {
            version
            for version in self.raw[table]
            if version.landed >= min(floor, start) or version.row[TIME[table]] >= floor
        }

    # Checks

    def unrouted(self, mart: str, rows: Counter[str], end: int) -> None:
        """One exception a half-year of what history cannot hold, with its count."""
        for period, count in rows.items():
            topic = f"half-year {period} has no copy in history, which begins with {self.history_start}"
            check, table = "archive_unrouted", f"order_tracking.{mart}"
            for key in [key for key in self.open if key[:2] == (check, table) and str(key[3]).startswith(topic)]:
                del self.open[key]
            self.open[(check, table, None, f"{topic} (rows: {count})")] = end

    def landed_since(self, since: int, *tables: str) -> set[int]:
        return {version.row[0] for table in tables for version in self.raw[table] if version.landed >= since}

    def check(self, midnight: int, now: int) -> None:
        """The daily check: opens what it finds, and closes what it no longer finds of the orders that it judged."""
        settled = now // QUARTER * QUARTER - GRACE
        found = self.findings(settled)
        found |= {key for key, seen in self.open.items() if key[0] == "archive_unrouted" and seen >= midnight}
        for key in found:
            seen = max([midnight, *(self.open.pop(same) for same in [*self.open] if about(same) == about(key))])
            self.open[key] = seen
        orders = self.landed_since(settled, UTI, UTS)
        metadata = self.landed_since(settled, ECS)
        waiting = self.landed_since(settled - DAY, ECS) - self.landed_since(settled - DAY, UTI)
        passed_over = {
            "landed_but_missing": orders | metadata,
            "archived_but_in_mart": orders | metadata,
            "metadata_without_status": orders | waiting,
        }
        for key in [key for key in self.open if key not in found and key[2] not in passed_over.get(key[0], orders)]:
            del self.open[key]
            self.closed[key] += 1

    def findings(self, settled: int) -> set[Row]:
        """What the checks must find; of doubled, split or missing rows there is never any."""
        found: set[Row] = set()
        found |= self.still_rejected()
        for order, version in self.ecs.items():
            statuses = [each.version.row[3] for each in self.history_uti.get(order, [])]
            later = not statuses or (
                created_later(version.row[2], max(statuses)) and version.row[2] > min(self.created(order))
            )
            if order not in self.uti and later and version.landed < settled - DAY:
                detail = "metadata landed more than a day ago, and its order never got a status"
                found.add(
                    (
                        "metadata_without_status",
                        "order_tracking.mart_ecs_order_info",
                        order,
                        detail + disagreement(version.row[2], None),
                    )
                )
        scans: dict[int, list[Version]] = {}
        for version in self.uts.values():
            scans.setdefault(version.row[0], []).append(version)
        archived_scans = {row[0] for row in self.history_uts}
        for order, version in self.uti.items():
            namesakes = [
                each.version.row[3]
                for each in self.history_uti.get(order, [])
                if self.another(each.version, version, self.created(order))
            ]
            if namesakes:
                found.add(number_reused(order, max(namesakes)))
            if version.landed >= settled:
                continue
            about_its_time = any(
                row[0] == order and abs(row[1] - version.row[3]) <= TOLERANCE for row in self.history_uts
            )
            if order not in scans and not about_its_time:
                detail = "the mart holds no scan of this order" + disagreement(version.row[3], None)
                found.add(("update_time_mismatch", "order_tracking.mart_uni_tracking_info", order, detail))
                if order not in archived_scans:
                    detail = "neither the mart nor history holds a scan of this order"
                    found.add(("order_without_scans", "order_tracking.mart_uni_tracking_spath", order, detail))
            elif order in scans:
                newest = max(scan.row[1] for scan in scans[order])
                if abs(newest - version.row[3]) > TOLERANCE and max(scan.landed for scan in scans[order]) < settled:
                    newer, older = ("newest scan", "status") if newest > version.row[3] else ("status", "newest scan")
                    detail = f"the {newer} is newer than the {older}" + disagreement(version.row[3], newest)
                    found.add(("update_time_mismatch", "order_tracking.mart_uni_tracking_info", order, detail))
            if order not in self.ecs:
                archived = [each.version.row[2] for each in self.history_ecs.get(order, [])]
                detail = "no row anywhere"
                if archived and namesakes and not created_later(max(archived), max(namesakes)):
                    detail = "history holds only the row of an earlier order under this number"
                elif archived:
                    detail = "history holds its row, the order came back: restore it"
                found.add(("order_without_ecs", "order_tracking.mart_ecs_order_info", order, detail))
        return found

    def still_rejected(self) -> set[Row]:
        """One finding a table and reason, with the first two of the rows of whose key no good row landed later."""
        rows: dict[tuple[str, str], list[tuple[Any, str]]] = {}
        for (table, held), (order, reason) in self.rejected.items():
            if not self.mended(table, held, order, reason):
                rows.setdefault((table, reason.split(": ")[0]), []).append((null_last(order), held))
        found: set[Row] = set()
        for (table, reason), texts in rows.items():
            examples = " | ".join(held[:300] for _, held in sorted(texts)[:2])
            detail = f"{reason} (rows: {len(texts)}; for example: {examples})"
            found.add(("rejected_rows", f"order_tracking_raw.{table}_raw", None, detail))
        return found

    def mended(self, table: str, held: str, order: int | None, reason: str) -> bool:
        """A good row of the key of a rejected one has reached mart or history, and landed after it."""
        shown = dict(part.split("=", 1) for part in held.split(", ") if "=" in part)
        for version in self.settled_versions(table):
            if version.row[0] != order or version.landed <= self.rejected_at[table, held]:
                continue
            good = dict(
                zip(COLUMNS[table], ("NULL" if each is None else str(each) for each in version.row), strict=True)
            )
            keys = ("pathtime", "code", "traceseq") if table == UTS else ()
            if all(reason.startswith(f"{key} ") or shown.get(key) == good[key] for key in keys):
                return True
        return False


def about(key: Row) -> Row:
    """A finding without its figures."""
    return (*key[:3], key[3].split(" (rows: ")[0].split(" (found: ")[0])


def disagreement(found: int, expected: int | None) -> str:
    """The figures of two times that disagree."""
    if expected is None:
        return f" (found: {told(found)}; expected: none)"
    return f" (found: {told(found)}; expected: {told(expected)}; difference: {abs(found - expected)} s)"


def same_order(left: Version, right: Version) -> bool:
    """By tracking number; another one within a day is a correction."""
    tnos = {left.row[1], right.row[1]}
    return len(tnos) == 1 or all(map(is_blank, tnos)) or abs(left.row[3] - right.row[3]) <= DAY


def is_blank(tno: str | None) -> bool:
    return not (tno or "").strip(" ")


def told(moment: int) -> str:
    return f"{dt.datetime.fromtimestamp(moment, dt.UTC):%Y-%m-%d %H:%M:%S}"


def number_reused(order: int, last_status: int) -> Row:
    detail = "history holds another order under this number: its tracking number or its metadata differ"
    detail += f" (found: its last status of {told(last_status)})"
    return ("order_number_reused", "order_tracking.mart_uni_tracking_info", order, detail)


def archived_at_time(archived: Archived) -> int:
    """The event time of an archived status."""
    return archived.version.row[3]


def uti_age(version: Version) -> tuple[Any, ...]:
    """Sorts the versions of an order's status from old to new."""
    _, tno, status, update_time = version.row
    return update_time, version.landed, null_last(tno), null_last(status)


def ecs_age(version: Version) -> tuple[Any, ...]:
    _, partner, add_time = version.row
    return add_time, version.landed, null_last(partner)


def created_later(created: int, last_status: int) -> bool:
    """Metadata of a later order; that of the same one may be created up to a day after its status."""
    return created > last_status + DAY


def null_last(value: Any) -> tuple[bool, Any]:
    return (True, 0) if value is None else (False, value)


def tally(table: str, rows: list[Row]) -> tuple[int, int, int]:
    """How many, and the sums of orders and times: what two sides are compared by."""
    return len(rows), sum(row[0] or 0 for row in rows), sum(row[TIME[table]] for row in rows)


def placeable(table: str, row: Row) -> bool:
    """It has a time above zero."""
    time = row[TIME[table]]
    return time is not None and time > 0


def fault(table: str, row: Row) -> str | None:
    """Why a row cannot be loaded."""
    time, name = row[TIME[table]], COLUMNS[table][TIME[table]]
    if row[0] is None:
        return "order_id is NULL"
    if row[0] <= 0:
        return "order_id is zero or negative"
    if time is None:
        return f"{name} is NULL"
    if time <= 0:
        return f"{name} is zero or negative"
    if time >= YEAR_2100:
        return f"{name} is beyond the year 2100 (milliseconds?)"
    for column, value in zip(COLUMNS[table], row, strict=True):
        if isinstance(value, str) and len(value.encode()) > 64:
            return f"{column} is longer than 64 bytes"
        if column in ("status", "partner_id", "code", "traceseq") and not fits_integer(value):
            return f"{column} does not fit an INTEGER: {value}"
    return None


def fits_integer(value: int | None) -> bool:
    return value is None or -(2**31) <= value < 2**31


def payload(table: str, row: Row) -> str:
    values = ["NULL" if value is None else str(value) for value in row]
    return ", ".join(f"{name}={value}" for name, value in zip(COLUMNS[table], values, strict=True))


def half_year(moment: int) -> str:
    day = dt.datetime.fromtimestamp(moment, dt.UTC)
    return f"{day.year}_h1" if day.month < 7 else f"{day.year}_h2"


def months_before(moment: int, months: int) -> int:
    """The same time of day so many months earlier; of a day that the month lacks, the beginning of the month after."""
    then = dt.datetime.fromtimestamp(moment, dt.UTC)
    year, month = then.year, then.month - months
    while month < 1:
        year, month = year - 1, month + 12
    try:
        return int(then.replace(year=year, month=month).timestamp())
    except ValueError:
        return int(dt.datetime(year, month + 1, 1, tzinfo=dt.UTC).timestamp())  # never of a December
