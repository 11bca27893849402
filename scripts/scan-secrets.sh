#!/bin/sh
# Looks for secrets in the files given, by default in all files that git tracks or would. There is no baseline: a false
# alarm is answered beside the line itself, with "pragma: allowlist secret".
set -eu
cd "$(dirname "$0")/.."

list() {
    if [ $# -gt 0 ]; then
        printf '%s\0' "$@"
    else
        git ls-files -z --cached --others --exclude-standard -- . ':!requirements/*.lock'
    fi
}

# Digests are what this project is made of, so high entropy alone says nothing. A placeholder is not a secret.
list "$@" |
    xargs -0 -r sh -c 'for f; do [ ! -f "$f" ] || printf "%s\0" "$f"; done' sh |
    xargs -0 -r .venv/bin/python -m detect_secrets.pre_commit_hook \
        --disable-plugin HexHighEntropyString --disable-plugin Base64HighEntropyString \
        --exclude-secrets '^\{.*$' --exclude-secrets '^(PASSWORD|secret)$'
