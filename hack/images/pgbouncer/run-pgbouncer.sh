#!/bin/sh
# Runs PgBouncer on a folder that may change under it: pgbouncer.ini, userlist.txt, paused (true or false).
# A change is taken up by RELOAD, PAUSE or RESUME (pgbouncer(1), "Signals"), never by a restart.
# Usage: run-pgbouncer FOLDER
set -eu
folder=$1
pid='' paused=false seen=''

stop() {
  # Endpoints are taken away while we stay: connections made meanwhile are still served.
  sleep "${DRAIN_SECONDS:-5}"
  # SHUTDOWN WAIT_FOR_SERVERS: running transactions end, idle clients are let go.
  kill -INT "$pid" 2>/dev/null || true
}

content() { cat "$folder/pgbouncer.ini" "$folder/userlist.txt" | cksum; }

look() {
  now=$(content)
  if [ "$now" != "$seen" ]; then
    seen=$now
    echo "run-pgbouncer: configuration changed, RELOAD" >&2
    kill -HUP "$pid"
  fi
  wanted=$(cat "$folder/paused" 2>/dev/null || echo false)
  if [ "$wanted" != "$paused" ]; then
    paused=$wanted
    if [ "$paused" = true ]; then signal=USR1; else signal=USR2; fi
    echo "run-pgbouncer: paused is $paused now" >&2
    kill "-$signal" "$pid"
  fi
}

trap 'stop' TERM INT
seen=$(content)
pgbouncer "$folder/pgbouncer.ini" &
pid=$!
while kill -0 "$pid" 2>/dev/null; do
  look || true
  # In the background, so that a signal is handled at once.
  sleep 1 & wait $! || true
done
wait "$pid"
