#!/bin/bash
# Same contract as the official image's entry point: on the first start initdb with POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB
# (each also as NAME_FILE), then the files of /docker-entrypoint-initdb.d; after that, and on every later start, the given command.
set -euo pipefail

file_env() {
  local name=$1 default=${2:-} file="$1_FILE"
  if [ -n "${!name:-}" ] && [ -n "${!file:-}" ]; then echo "both $name and $file are set" >&2; exit 1; fi
  if [ -n "${!file:-}" ]; then export "$name=$(<"${!file}")"; else export "$name=${!name:-$default}"; fi
  unset "$file"
}

first_start() {
  file_env POSTGRES_PASSWORD
  file_env POSTGRES_USER postgres
  file_env POSTGRES_DB "$POSTGRES_USER"
  local method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -z "$POSTGRES_PASSWORD" ] && [ "$method" != trust ]; then
    echo 'Error: Database is uninitialized and superuser password is not specified; set POSTGRES_PASSWORD.' >&2; exit 1
  fi
  # Made in a folder of its own and moved into place with PG_VERSION last: a first start that was cut off is begun again.
  local new=$PGDATA/.initialising
  if [ -d "$new" ]; then
    find "$PGDATA" -mindepth 1 -delete
  elif [ -n "$(ls -A "$PGDATA")" ]; then
    echo "Error: $PGDATA is not empty and holds no PostgreSQL cluster." >&2; exit 1
  fi
  # shellcheck disable=SC2086
  initdb --pgdata="$new" --username="$POSTGRES_USER" --pwfile=<(printf '%s\n' "$POSTGRES_PASSWORD") \
    --auth-local=trust --auth-host="$method" ${POSTGRES_INITDB_ARGS:-}
  printf 'host all all all %s\n' "$method" >> "$new/pg_hba.conf"
  pg_ctl -D "$new" -o "-c listen_addresses='' -c unix_socket_directories=/tmp" -w start
  local -a sql=(psql -v ON_ERROR_STOP=1 --no-psqlrc --host /tmp --username "$POSTGRES_USER")
  if [ "$POSTGRES_DB" != postgres ]; then
    printf 'CREATE DATABASE :"name";\n' | "${sql[@]}" --dbname postgres --set name="$POSTGRES_DB"
  fi
  local script
  for script in /docker-entrypoint-initdb.d/*; do
    case $script in
      *.sh) bash "$script" ;;
      *.sql) "${sql[@]}" --dbname "$POSTGRES_DB" --file "$script" ;;
    esac
  done
  pg_ctl -D "$new" -m fast -w stop
  find "$new" -mindepth 1 -maxdepth 1 ! -name PG_VERSION -exec mv -t "$PGDATA" {} +
  sync -f "$PGDATA"
  mv "$new/PG_VERSION" "$PGDATA"
}

case ${1:-} in -*) set -- postgres "$@" ;; esac
if [ "${1:-}" = postgres ]; then
  mkdir -p "$PGDATA"
  chmod 0700 "$PGDATA" || true
  [ -s "$PGDATA/PG_VERSION" ] || first_start
  rmdir "$PGDATA/.initialising" 2>/dev/null || true
fi
exec "$@"
