"""Random histories: what a source, its outages, operators and the clock can do, each told by one integer.

A history is a list of steps with every value in it. It is thought up beside the oracle alone (so that it can choose
an order that has been archived, or a moment at which one ages out), never beside the warehouse. Any part of a history
is a history too, so a failing one can be cut down.
"""

from __future__ import annotations

import calendar
import datetime as dt
import random
from collections import Counter
from collections.abc import Callable
from typing import Any

from tests.proof.oracle import COLUMNS, DAY, ECS, HOUR, QUARTER, TIME, UTI, UTS, Oracle, Row, half_year

Step = tuple[Any, ...]
MINUTE = 60
NULLABLE = 0.06


class History:
    """One history, and how often each kind of event was drawn for it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.drawn: Counter[str] = Counter()
        self.steps: list[Step] = []
        self.started = epoch(self.random.choice((2023, 2024, 2025)), self.random.randint(1, 12), 1)
        self.started += self.random.randrange(28 * DAY) // QUARTER * QUARTER + self.random.choice((0, 30, 899))
        year = int(half_year(self.started)[:4])
        self.history_start = self.random.choice((f"{year - 3}_h1", f"{year - 1}_h1", f"{year}_h1", f"{year}_h2"))
        self.oracle = Oracle(self.started, self.history_start)
        self.now = self.started
        self.orders = 0
        self.tnos: dict[int, str | None] = {}
        for _ in range(self.random.randint(10, 22)):
            self.turn()
        self.close()

    def turn(self) -> None:
        """Some events in the source, some time, and what the operators make of it."""
        self.pick(PASSAGES)
        for _ in range(self.random.choice((0, 1, 1, 2, 3, 5))):
            self.pick(EVENTS)
        self.pick(ACTIONS)

    def pick(self, weighted: dict[Callable[[History], bool | None], int]) -> None:
        """Draws one; a kind that finds nothing to do (it says False) does not count, and another is drawn."""
        for _ in range(20):
            (kind,) = self.random.choices([*weighted], [*weighted.values()])
            if kind(self) is not False:
                self.drawn[kind.__name__] += 1
                return

    def close(self) -> None:
        """At the end everything is compared with the source once, and then judged by two daily checks."""
        self.now += HOUR
        self.take("cycle", self.now, 1)
        self.now += DAY + HOUR
        self.take("cycle", self.now, None)

    def take(self, *step: Any) -> None:
        self.steps.append(step)
        apply_to_oracle(self.oracle, step)

    # What the events are made of

    def new_order(self) -> int:
        self.orders += 1
        return self.orders if self.random.random() < 0.95 else 2**40 + self.orders

    def any_order(self) -> int | None:
        orders = sorted({row[0] for row in self.oracle.source[UTI] if row[0] and row[0] > 0})
        return self.random.choice(orders) if orders else None

    def scan(self, order: int, time: int, *, code: int = 200) -> None:
        """A scan; it renews the order's status unless that is newer."""
        seq = sum(count for row, count in self.oracle.source[UTS].items() if row[0] == order)
        self.take("row", UTS, (order, time, self.perhaps(code), self.perhaps(seq)))
        held = self.status_of(order)
        if held is None or held[3] is None or held[3] <= time:
            self.status(order, time)

    def status(self, order: int, time: int) -> None:
        if order not in self.tnos:
            self.tnos[order] = self.perhaps(self.random.choice((f"T{order}", f"T{order}", "Ünïcode", "")))
        self.take("status", (order, self.tnos[order], self.perhaps(self.random.randint(100, 103)), time))

    def status_of(self, order: int) -> Row | None:
        return next((row for row in self.oracle.source[UTI] if row[0] == order), None)

    def create(self, order: int, time: int) -> None:
        self.take("row", ECS, (order, self.perhaps(self.random.randint(1, 3)), time))
        self.scan(order, time, code=100)

    def perhaps(self, value: Any) -> Any:
        return None if self.random.random() < NULLABLE else value

    def lately(self) -> int:
        return self.now - self.random.choice((0, 1, 59, 5 * MINUTE, 14 * MINUTE, 25 * MINUTE))

    def long_ago(self) -> int:
        days = self.random.choice((1, 2, 10, 34, 36, 60, 150, 178, 184, 186, 200, 300, 400, 600))
        return self.now - days * DAY - self.random.randrange(DAY)

    def edge(self) -> int:
        """A moment at which something ends: a half-year, a month, a leap day, a quarter-hour, an hour."""
        day = utc(self.now - self.random.choice((0, 40, 130, 170, 200, 330)) * DAY)
        edge = self.random.choice(
            (
                epoch(day.year, 7, 1),
                epoch(day.year, 1, 1),
                epoch(day.year, day.month, 1),
                epoch(day.year, day.month, calendar.monthrange(day.year, day.month)[1]),
                epoch(day.year, 2, calendar.monthrange(day.year, 2)[1]),
                calendar.timegm(day.timetuple()) // HOUR * HOUR,
                calendar.timegm(day.timetuple()) // QUARTER * QUARTER,
            )
        )
        return edge - self.random.choice((0, 0, 1))


# What happens in the source


def an_order(h: History) -> None:
    h.create(h.new_order(), h.lately())


def a_scan(h: History) -> bool | None:
    order = h.any_order()
    return h.scan(order, h.lately()) if order else False


def an_order_comes_back(h: History) -> bool | None:
    archived = sorted(h.oracle.history_uti)
    return h.scan(h.random.choice(archived), h.lately()) if archived else False


def a_newer_status_of_an_archived_order_that_is_aged_too(h: History) -> bool | None:
    archived = sorted(h.oracle.history_uti)
    if not archived:
        return False
    order = h.random.choice(archived)
    time = max(each.version.row[3] for each in h.oracle.history_uti[order])
    return h.scan(order, time + h.random.choice((1, HOUR, DAY, 20 * DAY, 100 * DAY)))


def a_number_is_used_again(h: History) -> bool | None:
    """The source purges an order and gives its number to a new one, whose metadata may come later, or never."""
    archived = sorted(h.oracle.history_uti)
    order = h.random.choice(archived) if archived and h.random.random() < 0.9 else h.any_order()
    if not order:
        return False
    h.take("purge", order)
    if h.random.random() < 0.7:
        h.tnos[order] = h.perhaps(f"U{len(h.steps)}")
    what = h.random.random()
    if what < 0.6:
        return h.create(order, h.lately())
    if what < 0.8:
        return h.take("row", ECS, (order, 3, h.lately()))
    return h.scan(order, h.lately())


def a_tracking_number_changes(h: History) -> bool | None:
    order = h.any_order()
    if not order:
        return False
    h.tnos[order] = h.perhaps(f"V{len(h.steps)}")
    return h.status(order, h.random.choice((h.lately(), h.long_ago())))


def a_late_scan(h: History) -> bool | None:
    order = h.any_order()
    return h.scan(order, h.long_ago()) if order else False


def a_late_order(h: History) -> None:
    h.create(h.new_order(), h.long_ago())


def an_order_at_an_edge(h: History) -> None:
    h.create(h.new_order(), min(h.edge(), h.now))


def a_scan_at_an_edge(h: History) -> bool | None:
    order = h.any_order()
    return h.scan(order, min(h.edge(), h.now)) if order else False


def a_status_without_metadata(h: History) -> None:
    h.scan(h.new_order(), h.random.choice((h.lately(), h.long_ago())))


def metadata_without_a_status(h: History) -> None:
    h.take("row", ECS, (h.new_order(), 1, h.random.choice((h.lately(), h.long_ago()))))


def late_metadata(h: History) -> bool | None:
    known = {row[0] for row in h.oracle.source[ECS]}
    waiting = sorted({row[0] for row in h.oracle.source[UTI] if row[0] and row[0] > 0} - known)
    if not waiting:
        return False
    return h.take("row", ECS, (h.random.choice(waiting), 2, h.random.choice((h.lately(), h.long_ago()))))


def a_late_status(h: History) -> bool | None:
    known = {row[0] for row in h.oracle.source[UTI]}
    waiting = sorted({row[0] for row in h.oracle.source[ECS] if row[0] and row[0] > 0} - known)
    if not waiting:
        return False
    return h.scan(h.random.choice(waiting), h.random.choice((h.lately(), h.long_ago())))


def a_status_without_a_scan(h: History) -> bool | None:
    order = h.any_order()
    return h.status(order, h.lately()) if order else False


def a_tie(h: History) -> bool | None:
    """Another status at the same second."""
    order = h.any_order()
    held = order and h.status_of(order)
    return h.status(order, held[3]) if order and held and held[3] else False


def a_status_goes_back(h: History) -> bool | None:
    order = h.any_order()
    held = order and h.status_of(order)
    if not order or not held or not held[3]:
        return False
    return h.status(order, max(1, held[3] - h.random.choice((1, HOUR, DAY, 200 * DAY, 500 * DAY))))


def a_date_in_the_future(h: History) -> None:
    order = h.random.choice((h.any_order(), None)) or h.new_order()
    h.scan(order, h.now + h.random.choice((1, HOUR, DAY, 40 * DAY, 300 * DAY, 900 * DAY)))


def an_order_older_than_history(h: History) -> None:
    h.create(h.new_order(), h.started - h.random.randrange(400, 1800) * DAY)


def a_scan_twice(h: History) -> bool | None:
    rows = sorted(h.oracle.source[UTS], key=repr)
    return h.take("row", UTS, h.random.choice(rows)) if rows else False


def two_scans_in_one_second(h: History) -> bool | None:
    order, time = h.any_order(), h.lately()
    if not order:
        return False
    h.scan(order, time)
    return h.scan(order, time, code=201)


def a_row_that_cannot_be_loaded(h: History) -> None:
    table = h.random.choice((UTI, ECS, UTS))
    row: list[Any] = [h.new_order(), *(1 for _ in COLUMNS[table][1:])]
    if table == UTI:
        row[1] = "T"
    row[TIME[table]] = h.lately()
    at, value = h.random.choice(((0, None), (0, 0), (0, -5), (-1, None), (-1, 0), (-1, -1), (-1, 10**12), (1, "long")))
    if value == "long":
        at, value = {UTI: (1, "ü" * 40), ECS: (1, 2**31), UTS: (2, -(2**31) - 1)}[table]
    row[TIME[table] if at == -1 else at] = value
    h.take("row", table, tuple(row))


EVENTS = {
    an_order: 14,
    a_scan: 14,
    an_order_comes_back: 10,
    a_newer_status_of_an_archived_order_that_is_aged_too: 6,
    a_number_is_used_again: 6,
    a_tracking_number_changes: 2,
    a_late_scan: 8,
    a_late_order: 8,
    an_order_at_an_edge: 8,
    a_scan_at_an_edge: 6,
    a_status_without_metadata: 4,
    metadata_without_a_status: 3,
    late_metadata: 5,
    a_late_status: 3,
    a_status_without_a_scan: 2,
    a_tie: 4,
    a_status_goes_back: 4,
    a_date_in_the_future: 2,
    an_order_older_than_history: 3,
    a_scan_twice: 3,
    two_scans_in_one_second: 3,
    a_row_that_cannot_be_loaded: 3,
}


# How time passes


def a_quarter_hour(h: History) -> None:
    h.now += QUARTER


def minutes(h: History) -> None:
    """Perhaps within the same quarter-hour."""
    h.now += h.random.randint(1, 20) * MINUTE


def hours(h: History) -> None:
    h.now += h.random.randint(1, 23) * HOUR + h.random.randrange(QUARTER)


def days(h: History) -> None:
    h.now += h.random.randint(1, 12) * DAY + h.random.randrange(DAY)


def more_than_the_raw_retention(h: History) -> None:
    h.now += 35 * DAY + h.random.choice((-DAY, -1, 0, 1, 900, 3 * DAY))


def half_a_year(h: History) -> None:
    h.now += h.random.randint(150, 230) * DAY + h.random.randrange(DAY)


def to_midnight(h: History) -> None:
    h.now = (h.now // DAY + 1) * DAY + h.random.choice((-1, 0, 0, 1, 899, 900))


def to_a_new_half_year(h: History) -> None:
    day = utc(h.now)
    edge = epoch(day.year, 7, 1) if day.month < 7 else epoch(day.year + 1, 1, 1)
    h.now = edge + h.random.choice((0, 1, 30, 900, 901))


def to_where_an_order_is_just_aged(h: History) -> bool | None:
    """The newest status is six calendar months after an order's, to the second, or one second more or less."""
    times = sorted(version.row[3] for version in h.oracle.uti.values())
    reachable = [time for time in times if six_months_after(time) > h.now]
    if not reachable:
        return False
    h.now = six_months_after(h.random.choice(reachable)) + h.random.choice((0, 0, 1, -1))
    h.scan(h.new_order(), h.now)
    h.now = (h.now // QUARTER + 1) * QUARTER + h.random.randrange(QUARTER)
    return None


PASSAGES = {
    a_quarter_hour: 22,
    minutes: 8,
    hours: 12,
    days: 14,
    more_than_the_raw_retention: 10,
    half_a_year: 10,
    to_midnight: 8,
    to_a_new_half_year: 6,
    to_where_an_order_is_just_aged: 12,
}


# What the operators do


def a_cycle(h: History) -> None:
    h.take("cycle", h.now, None)


def a_cycle_with_reconcile(h: History) -> None:
    h.take("cycle", h.now, h.random.choice((1, 1, h.now - 35 * DAY, h.now - 200 * DAY, h.now - 3 * HOUR)))


def an_extract_without_a_run(h: History) -> None:
    h.take("extract", h.now, None)


def a_run_without_an_extract(h: History) -> None:
    h.take("run", h.now)


def an_outage_of_the_source(h: History) -> None:
    """It gives up one table half-way; the cycle ends there, or the marts are run all the same."""
    h.take("extract", h.now, h.random.choice((UTI, ECS, UTS)))
    if h.random.random() < 0.3:
        h.take("run", h.now)


def a_cycle_and_its_repetition(h: History) -> None:
    h.take("cycle", h.now, None)
    h.take("repeat")


def a_restore(h: History) -> bool | None:
    orders = h.oracle.restorable()
    if not orders:
        return False
    h.take("restore", h.now, tuple(orders[: h.random.choice((1, 5))]))
    h.now += QUARTER
    return h.take("cycle", h.now, None)


def a_cycle_twice_at_the_same_moment(h: History) -> None:
    h.take("cycle", h.now, None)
    h.take("cycle", h.now, 1)


ACTIONS = {
    a_cycle: 40,
    a_cycle_with_reconcile: 14,
    an_extract_without_a_run: 4,
    a_run_without_an_extract: 3,
    an_outage_of_the_source: 5,
    a_cycle_and_its_repetition: 5,
    a_restore: 14,
    a_cycle_twice_at_the_same_moment: 3,
}

KINDS = [kind.__name__ for kinds in (EVENTS, PASSAGES, ACTIONS) for kind in kinds]


def apply_to_oracle(oracle: Oracle, step: Step) -> None:
    """One step, as the rules say."""
    match step:
        case ("row", table, row):
            oracle.source[table][row] += 1
        case ("status", row):
            for old in [old for old in oracle.source[UTI] if old[0] == row[0]]:
                del oracle.source[UTI][old]
            oracle.source[UTI][row] += 1
        case ("purge", order):
            for rows in oracle.source.values():
                for row in [row for row in rows if row[0] == order]:
                    del rows[row]
        case ("cycle", now, since):
            oracle.extract(now)
            if since is not None:
                oracle.extract(now, since=since)
            oracle.run(now)
        case ("extract", now, outage):
            oracle.extract(now, outage=outage)
        case ("run", now):
            oracle.run(now)
        case ("repeat",):
            oracle.repeat()
        case ("restore", now, orders):
            oracle.restore(list(orders), now)


def utc(moment: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(moment, dt.UTC)


def epoch(year: int, month: int, day: int) -> int:
    return calendar.timegm((year, month, day, 0, 0, 0))


def six_months_after(moment: int) -> int:
    """The same time of day six months later, on the last day of a month that is too short."""
    then = utc(moment)
    year, month = (then.year, then.month + 6) if then.month <= 6 else (then.year + 1, then.month - 6)
    day = min(then.day, calendar.monthrange(year, month)[1])
    return calendar.timegm(then.replace(year=year, month=month, day=day).timetuple())
