#!/bin/sh
# What takes too long for every change: the whole demo in a clone without state, its summary verified, and the benchmarks.
# The ports must be free. Summary, logs and results are kept in var/nightly.
set -eu
cd "$(dirname "$0")/.."
kept=$PWD/var/nightly
clone=$(mktemp -d)/modelyard

finish() {
    code=$?
    trap - EXIT
    rm -rf "$kept"
    mkdir -p "$kept"
    for found in var/demo/summary.json var/logs benchmarks/results; do
        if [ -e "$clone/$found" ]; then cp -R "$clone/$found" "$kept/"; fi
    done
    if [ -f "$clone/Makefile" ]; then make -C "$clone" --no-print-directory stop || code=1; fi
    rm -rf "$(dirname "$clone")"
    if [ "$code" -eq 0 ]; then echo 'nightly: all passed'; else echo "nightly: FAILED; see $kept" >&2; fi
    exit "$code"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# What a shell was told of another installation must not steer this one.
for name in $(env | sed -n 's/^\(\(MODELYARD\|FEAST\|AIRFLOW\|MLFLOW\|YARD\)_[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done

git clone --quiet . "$clone"
rm -rf "$clone/benchmarks/results"  # what is kept below is tonight's
make -C "$clone" --no-print-directory run </dev/null
"$clone/.venv/bin/python" -m modelyard.demo.verify "$clone/var/demo/summary.json"
make -C "$clone" --no-print-directory stop
make -C "$clone" --no-print-directory bench
