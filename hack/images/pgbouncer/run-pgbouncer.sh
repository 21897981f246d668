#!/bin/bash
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

# Until it listens it has no handlers: a signal would end it.
listens() {
  local port
  port=$(sed -n 's/^listen_port *= *//p' "$folder/pgbouncer.ini")
  (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null
}

# Only what was passed on is remembered; the next look tries the rest again.
look() {
  local now wanted signal=USR2
  if now=$(content) && [ "$now" != "$seen" ]; then
    kill -HUP "$pid" || return
    seen=$now
    echo "run-pgbouncer: configuration changed, RELOAD" >&2
  fi
  wanted=$(cat "$folder/paused" 2>/dev/null || echo false)
  if [ "$wanted" != "$paused" ]; then
    if [ "$wanted" = true ]; then signal=USR1; fi
    kill "-$signal" "$pid" || return
    paused=$wanted
    echo "run-pgbouncer: paused is $paused now" >&2
  fi
}

# In the background, so that a signal is handled at once.
moment() { sleep "$1" & wait $! || true; }

trap 'stop' TERM INT
seen=$(content)
pgbouncer "$folder/pgbouncer.ini" &
pid=$!
until listens || ! kill -0 "$pid" 2>/dev/null; do moment 0.1; done
while kill -0 "$pid" 2>/dev/null; do
  look || true
  moment 1
done
wait "$pid"
