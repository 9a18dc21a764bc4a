#!/bin/sh
# Makes sure that a MariaDB server can be started by the tests. Installs Debian's package when it is missing and
# starts no service: the tests run a private server of their own.
set -eu
. "$(dirname "$0")/debian_package.sh"

if [ -n "${ORDER_TRACKING_TEST_MYSQL:-}" ]; then
    echo "MariaDB: the tests use the server in ORDER_TRACKING_TEST_MYSQL"
    exit 0
fi
if have mariadbd && have mariadb-install-db; then
    exit 0
fi
if ! install_package mariadb-server; then
    echo "The tests need a MariaDB server. Install it (Debian's package: mariadb-server)," >&2
    echo "or set ORDER_TRACKING_TEST_MYSQL=mysql://user:password@host:port/database." >&2
    exit 1
fi
have mariadbd && have mariadb-install-db
