#!/bin/sh
# Stops the embedded platform, also where .venv is gone or broken and the processes it started still run. Its state is
# kept, unless --remove is given: then the home (MODELYARD_HOME, by default var/) is removed when nothing runs in it.
set -eu
cd "$(dirname "$0")/.."
remove=
[ "${1:-}" != --remove ] || remove=yes

if [ -x .venv/bin/modelyard ] && .venv/bin/python -c 'import modelyard' 2>/dev/null; then
    if [ "$remove" ]; then exec .venv/bin/modelyard clean --yes; fi
    exec .venv/bin/modelyard down
fi

fail() { echo "stop: $*" >&2; exit 1; }

root=$(pwd -P)
home=${MODELYARD_HOME:-$root/var}
case $home in /*) ;; *) home=$root/$home ;; esac
home=${home%/}
if [ ! -d "$home" ]; then
    echo "Nothing runs, and there is no $home."
    exit 0
fi
if [ "$remove" ] && [ "$home" != "$root/var" ] && [ ! -f "$home/secrets/airflow-passwords.json" ]; then
    fail "$home holds no secrets of ours: it may not be a home of Modelyard. Remove it by hand."
fi
real=$(cd "$home" && pwd -P)

# The parts of the platform that run, a line each: process id and name. What marks a process as ours is the same as in
# src/modelyard/runtime/orphans.py: a variable in its environment, or, since some programs write their title over that,
# a working folder that only we give. A person's shell in such a folder has a terminal.
ours() {
    for place in /proc/[0-9]*; do
        pid=${place#/proc/}
        [ "$pid" != $$ ] || continue
        if grep -qzxF -e "YARD_INSTANCE=$home" "$place/environ" 2>/dev/null; then
            echo "$pid $(tr '\0' '\n' 2>/dev/null < "$place/environ" | sed -n 's/^YARD_PROCESS=//p')"
            continue
        fi
        at=$(readlink "$place/cwd" 2>/dev/null) || continue
        case $at in
            "$real/run/at/"* | "$real/postgres") ;;
            *) continue ;;
        esac
        # After the name in brackets: state, parent, group, session, terminal.
        terminal=$(sed 's/.*) //' "$place/stat" 2>/dev/null | cut -d ' ' -f 5)
        [ "$terminal" != 0 ] || echo "$pid ${at##*/}"
    done
}

# The same where there is no /proc: what the two files of process ids name.
named() {
    for file in "$home/run/supervisord.pid" "$home/postgres/postmaster.pid"; do
        [ -f "$file" ] || continue
        pid=$(head -n 1 "$file")
        case $(ps -o command= -p "$pid" 2>/dev/null) in
            *supervisord*) echo "$pid supervisor" ;;
            *"$home/postgres"*) echo "$pid postgres" ;;
        esac
    done
}

parts() { if [ -d /proc/self ]; then ours; else named; fi; }

# Whether one of these processes still runs; one that has ended and that its parent has not noticed does not.
alive() {
    for pid; do
        case $(ps -o stat= -p "$pid" 2>/dev/null) in
            '' | Z*) ;;
            *) return 0 ;;
        esac
    done
    return 1
}

# end SIGNAL SECONDS ID...: ask the processes to end, then make them.
end() {
    signal=$1 left=$2
    shift 2
    [ $# -gt 0 ] || return 0
    kill -s "$signal" "$@" 2>/dev/null || true
    while alive "$@" && [ "$left" -gt 0 ]; do
        sleep 1
        left=$((left - 1))
    done
    ! alive "$@" || kill -s KILL "$@" 2>/dev/null || true
}

# shellcheck disable=SC2046  # a word per process
{
    count=$(parts | wc -l)
    # First the supervisor, which ends its processes in order and would start them again; then what it has left behind,
    # PostgreSQL last and by the signal that rolls open transactions back.
    end TERM 90 $(parts | sed -n 's/ supervisor$//p')
    end TERM 15 $(parts | sed -n '/ postgres$/!s/ .*//p')
    server=$(head -n 1 "$home/postgres/postmaster.pid" 2>/dev/null || true)
    end INT 30 $(parts | sed -n "s/^${server:-none} postgres$/$server/p")
    end TERM 5 $(parts | sed 's/ .*//')
}
left=$(parts)
[ -z "$left" ] || fail "these still run, so nothing was removed: $(echo "$left" | tr '\n' ';') End them, or run make setup first."
if [ "$remove" ]; then
    rm -rf "$home"
    echo "Stopped $((count)) processes and removed $home."
else
    echo "Stopped $((count)) processes. State is kept in $home."
fi
