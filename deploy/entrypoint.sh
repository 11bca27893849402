#!/bin/sh
# Makes a variable of each secret that is named like one, then becomes the command. Nothing starts with an empty secret.
set -eu
for file in /run/secrets/*; do
    name=${file##*/}
    case "$name" in
        *[!A-Z0-9_]*) continue ;; # programs read these files themselves
    esac
    [ -s "$file" ] || { echo "entrypoint: the secret $name is empty; make secrets" >&2; exit 78; }
    export "$name=$(cat "$file")"
done
exec "$@"
