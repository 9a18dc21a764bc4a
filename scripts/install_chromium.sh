#!/bin/sh
# Makes sure that the tests can open the status page in a browser. Installs Debian's package when none is there. Without
# one the tests of the page are skipped, which is said here and at their end.
set -eu
. "$(dirname "$0")/debian_package.sh"

for browser in "${ORDER_TRACKING_TEST_CHROMIUM:-chromium}" chromium-browser google-chrome; do
    if have "$browser"; then
        exit 0
    fi
done
if ! install_package chromium || ! have chromium; then
    echo "WARNING: there is no Chromium, so the status page is NOT tested in a browser. Install it (Debian's package:" >&2
    echo "chromium), or set ORDER_TRACKING_TEST_CHROMIUM=/path/to/chromium." >&2
fi
