#!/bin/sh
# The secret files of docker-compose.yml. Needs nothing but a shell with base64 and tr.
#   sh deploy/make_secrets.sh [FOLDER]        (default: secrets)
# A file that is there is left as it is, so that it can be called again after an update.
set -eu
umask 077
folder=${1:-secrets}
case $folder in
-*) echo "usage: sh deploy/make_secrets.sh [FOLDER]" >&2; exit 2 ;;
esac
mkdir -p "$folder"
cd "$folder"

# 32 random bytes in base64.
key() { head -c 32 /dev/urandom | base64 | tr -d '\n'; }
# The same in letters that need no quoting in an address.
word() { key | tr '+/' '-_' | tr -d '='; }
# put NAME COMMAND…: what the command prints becomes the file, whole or not at all.
put() {
    name=$1
    shift
    if [ -e "$name" ]; then return; fi
    "$@" >".$name.new"
    chmod 0644 ".$name.new" # the folder is the owner's alone; each container's user reads its files
    mv ".$name.new" "$name"
    echo "made $folder/$name"
}
key_ring() {
    id=$(head -c 4 /dev/urandom | od -An -tx1 | tr -d ' \n')
    printf '{"active": "%s", "keys": {"%s": "%s"}, "index": "%s"}\n' "$id" "$id" "$(key)" "$(key)"
}

for name in postgres_password redis_password redis_worker_password secret_key worker_token; do
    put "$name" word
done
put database_url printf 'postgresql+psycopg://pleura:%s@postgres/pleura' "$(cat postgres_password)"
put redis_url printf 'redis://pleura:%s@redis:6379/0' "$(cat redis_password)"
put redis_worker_url printf 'redis://worker:%s@redis:6379/0' "$(cat redis_worker_password)"
put key_ring key_ring
put backup_key key
put webhook_secret key
# Yours to fill in where a bucket, single sign-on or a mail server is used.
for name in bucket_key_id bucket_secret oidc_client_secret smtp_password; do
    put "$name" true
done
echo "$folder/ holds all keys of the installation: keep a copy of it apart from the backups."
