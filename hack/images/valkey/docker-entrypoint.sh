#!/bin/sh
# As in the official image: options or a .conf file alone are the server's.
set -eu
case ${1:-} in -* | *.conf) set -- valkey-server "$@" ;; esac
exec "$@"
