#!/bin/sh
# Makes sure that a MariaDB server can be started by the tests. Installs Debian's package when it is missing and
# starts no service: the tests run a private server of their own.
set -eu

have() { PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null 2>&1; }

if [ -n "${ORDER_TRACKING_TEST_MYSQL:-}" ]; then
    echo "MariaDB: the tests use the server in ORDER_TRACKING_TEST_MYSQL"
    exit 0
fi
if have mariadbd && have mariadb-install-db; then
    exit 0
fi
if ! have apt-get; then
    echo "The tests need a MariaDB server. Install it (Debian's package: mariadb-server)," >&2
    echo "or set ORDER_TRACKING_TEST_MYSQL=mysql://user:password@host:port/database." >&2
    exit 1
fi
if [ "$(id -u)" = 0 ]; then
    as_root=""
elif have sudo && sudo -n true 2>/dev/null; then
    as_root="sudo -n"
else
    echo "The tests need Debian's package mariadb-server, and installing it needs root: sudo apt-get install mariadb-server" >&2
    echo "Or set ORDER_TRACKING_TEST_MYSQL=mysql://user:password@host:port/database." >&2
    exit 1
fi

echo "MariaDB: installing Debian's package mariadb-server"
# RUNLEVEL=1 makes the packaging scripts leave the service stopped.
$as_root apt-get update -qq
$as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends mariadb-server >/dev/null
have mariadbd && have mariadb-install-db
