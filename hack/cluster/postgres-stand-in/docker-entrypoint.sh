#!/bin/sh
# Does what the chart's quick start asks of PostgreSQL's official image, where that cannot be had: makes the cluster of
# POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB in PGDATA when there is none, then becomes the server. Nobody can
# connect over the network before the cluster is complete.
set -eu
user=${POSTGRES_USER:-postgres}
database=${POSTGRES_DB:-$user}
mkdir -p "$PGDATA"
# The server wants its directory for itself; Kubernetes opens volumes to the pod's group, also where the server ran before.
chmod 700 "$PGDATA"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  : "${POSTGRES_PASSWORD:?POSTGRES_PASSWORD must be set}"
  (umask 077 && printf '%s\n' "$POSTGRES_PASSWORD" >/tmp/password)
  initdb --pgdata="$PGDATA" --username="$user" --pwfile=/tmp/password --auth-local=trust --auth-host=scram-sha-256 \
    --encoding=UTF8 --locale=C --no-instructions
  rm /tmp/password
  printf 'host all all all scram-sha-256\n' >>"$PGDATA/pg_hba.conf"
  [ "$database" = postgres ] || printf 'CREATE DATABASE "%s"\n' "$database" | postgres --single -D "$PGDATA" -jE postgres
fi
exec "$@"
