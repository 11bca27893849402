#!/bin/sh
# All checks that need no running service. Each runs even when one before it failed; the exit code tells.
set -u
cd "$(dirname "$0")/.."
bin=.venv/bin
failed=

check() {
    title=$1
    shift
    echo "== $title"
    "$@" || failed="$failed, $title"
}

check "ruff" $bin/ruff check .
check "format" $bin/ruff format --check --quiet .
check "types" $bin/mypy --no-error-summary
check "import contracts" $bin/lint-imports --no-logo
check "secrets" scripts/scan-secrets.sh
check "doctests" $bin/python -m pytest -q --doctest-modules --ignore=src/modelyard/adapters/db/migrations -p no:cacheprovider src
check "docs" $bin/python -m pytest -q -p no:cacheprovider tests/docs

if [ -n "$failed" ]; then
    echo "check: FAILED: ${failed#, }" >&2
    exit 1
fi
echo "check: all passed"
