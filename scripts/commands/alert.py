"""`order-tracking alert`"""

from __future__ import annotations

import datetime as dt

import click

from scripts.display import tell
from scripts.options import EXIT_CODES, at_option, gateway_option, named_gateway


@click.command(short_help="Try the alerts out; tell that no cycle ends any more.", epilog=EXIT_CODES)
@click.option("--test", "is_test", is_flag=True, help="Send a test to every URL of ALERT_URLS.")
@click.option(
    "--overdue",
    is_flag=True,
    help="Alert, once, if no cycle has ended for three quarter-hours or something is not done.",
)
@gateway_option
@at_option
def command(is_test: bool, overdue: bool, gateway: str | None, at: dt.datetime | None) -> int:
    """Try the alerts out, or tell what no cycle can tell: that none ends any more, or that they leave something undone.

    That is what status calls overdue: a table of which no row has landed, a reconcile, the daily checks.

    Cycles alert by themselves, each change once. ALERT_URLS holds the addresses of Apprise: slack://..., mailtos://...

    Changes nothing in source and warehouse, and takes no lock. --overdue also sends what could not be delivered before.

    \b
    Examples:
      order-tracking alert --test
      order-tracking alert --overdue
    """
    gateway = named_gateway(gateway)
    from extract.errors import ConfigurationError
    from scripts.alerts import alert_urls

    if is_test == overdue:
        raise ConfigurationError("Give --test or --overdue; nothing was sent.")
    if not alert_urls():
        raise ConfigurationError(
            "ALERT_URLS is not set; nothing was sent. Write addresses of Apprise there, in .env or in the environment "
            "(docs/operations.md, 'Alerts')."
        )
    if is_test:
        return _test()
    from extract.clock import Clock
    from scripts.overdue import tell_overdue
    from scripts.reading import warn

    said, warnings = tell_overdue(gateway, Clock(at))
    tell(said)
    warn(warnings)  # on standard error: of a command that cron runs, its output may be thrown away
    return 1 if warnings else 0


def _test() -> int:
    """A line a URL: whether it took a test."""
    import platform

    from scripts.alerts import Alert, alert_urls, deliver, scheme

    test = Alert("a test", f"Alerts of order-tracking on {platform.node()} arrive here. Nothing has happened.")
    urls = alert_urls()
    results = deliver({str(number): (url, [test]) for number, url in enumerate(urls, start=1)})
    for number, url in enumerate(urls, start=1):
        fault = results[str(number)][1]
        tell(f"URL {number} ({scheme(url)}): {fault or 'delivered'}")
    faults = [fault for _, fault in results.values() if fault]
    if faults:
        tell("What an address looks like: https://github.com/caronc/apprise/wiki. More: apprise -vv -b test URL")
    return 1 if faults else 0
