# What the entry of the public image does: makes the database at the first start, then serves it.
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    # Unquoted, because it may hold several options.
    initdb -D "$PGDATA/" -U "$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" -E UTF8 \
        ${POSTGRES_INITDB_ARGS:-} --locale=C.UTF-8 --auth-host=scram-sha-256 --auth-local=trust >/dev/null
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    pg_ctl -D "$PGDATA" -o "-c listen_addresses= -c unix_socket_directories=/tmp" -w start >/dev/null
    createdb -h /tmp -U "$POSTGRES_USER" "$POSTGRES_DB" || true
    pg_ctl -D "$PGDATA" -m fast -w stop >/dev/null
fi
exec postgres -D "$PGDATA" -c listen_addresses='*' -c unix_socket_directories=/run/postgresql
