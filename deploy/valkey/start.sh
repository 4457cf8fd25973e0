#!/bin/sh
# Writes the ACL file from the secret, then execs the server. Only the secret contains the password itself.
set -eu
umask 077
here="$(dirname "$0")"
acl="${ACL_FILE:-/run/valkey/users.acl}"
password="$(cat "${SECRETS_DIR:-/run/secrets}/dlr_redis_password")"
if [ "${#password}" -lt 16 ]; then
    echo "the secret dlr_redis_password has fewer than 16 characters" >&2
    exit 1
fi
sha256="$(printf '%s' "$password" | sha256sum | cut -d ' ' -f 1)"
sed "s/@SHA256@/$sha256/" "$here/users.acl" > "$acl"
exec valkey-server "$here/valkey.conf" --aclfile "$acl" "$@"
