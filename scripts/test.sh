#!/bin/sh
# All tests with coverage; the last line printed is pytest's own, with how many were deselected.
#   ARGS  what to give pytest besides
#   JOBS  how many processes; 2 unless told otherwise, 0 for none besides pytest's own
set -u
cd "$(dirname "$0")/.."
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# The exit code of pytest, not of tee.
status=$(mktemp)
{
    # shellcheck disable=SC2086  # several arguments in one variable
    .venv/bin/python -m pytest -n "${JOBS:-2}" --dist loadfile -m "not gpu" --cov --cov-report= --cov-fail-under=0 ${ARGS:-} </dev/null
    echo $? > "$status"
} 2>&1 | tee "$log"
code=$(cat "$status")
rm -f "$status"
closing=$(grep -E '(passed|failed|error|no tests ran).* in [0-9.]+s' "$log" | tail -1)
if [ "$code" -eq 0 ]; then
    .venv/bin/python -m coverage report --skip-covered --sort=cover
    code=$?
    [ "$code" -eq 0 ] || echo "test: FAILED: coverage is below the limit in pyproject.toml" >&2
fi
echo "$closing"
exit "$code"
