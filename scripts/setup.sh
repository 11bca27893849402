#!/bin/sh
# Makes .venv with everything pinned in requirements/. A second call is instant; one that was interrupted goes on.
#   PYTHON          which Python (default: the first of 3.11, 3.12, 3.13 that is found)
#   TORCH_PIP_ARGS  how to get torch, e.g. "--index-url <PyTorch's CPU index>"; a plain torch on Linux brings CUDA
set -eu
cd "$(dirname "$0")/.."

fail() { echo "setup: $*" >&2; exit 1; }

supported() {
    "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3 python}; do
        if command -v "$candidate" >/dev/null 2>&1 && supported "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    found=$(python3 --version 2>/dev/null || echo "no python3")
    fail "needs Python 3.11, 3.12 or 3.13 and found ${PYTHON:-$found}. Install one, or name it: make setup PYTHON=/path/to/python3.12"
}

wanted=$(cat requirements/requirements.lock requirements/no-torch.txt pyproject.toml | cksum)
stamp=.venv/.modelyard-setup
if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && supported .venv/bin/python; then
    exit 0
fi

free_kib=$(df -Pk . | awk 'NR == 2 { print $4 }')
[ "$free_kib" -gt 5000000 ] || fail "needs 5 GB on this disk and only $((free_kib / 1024)) MiB are free."

if [ -d .venv ] && ! supported .venv/bin/python; then
    echo "setup: .venv holds no Python that is supported; making it anew"
    rm -rf .venv
fi
if [ ! -x .venv/bin/python ]; then
    python=$(find_python)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python cannot make virtual environments. On Debian or Ubuntu: apt-get install python3-venv"
    echo "setup: making .venv with $("$python" --version)"
    "$python" -m venv .venv || { rm -rf .venv; fail "could not make .venv"; }
fi
[ -x .venv/bin/pip ] || { rm -rf .venv; fail ".venv was half made and is removed now; run make setup again."; }

rm -f "$stamp"
torch=$(sed -n 's/^\(torch==[^ ;]*\).*/\1/p' requirements/no-torch.txt)
echo "setup: installing $torch and what requirements/requirements.lock pins (some minutes, 3 GB)"
.venv/bin/pip install --quiet uv || fail "pip cannot reach the package index. Is there a network, or a proxy to set?"
# shellcheck disable=SC2086  # several arguments in one variable
.venv/bin/pip install --quiet "$torch" ${TORCH_PIP_ARGS:-} || fail "could not install $torch; TORCH_PIP_ARGS chooses another index."
.venv/bin/uv pip install --quiet --python .venv/bin/python -r requirements/requirements.lock ||
    fail "could not install the pinned packages; the message is above, and make setup tries again."
.venv/bin/uv pip install --quiet --python .venv/bin/python --no-deps --editable .
.venv/bin/uv pip check --quiet --python .venv/bin/python || fail "the packages do not fit together: uv pip check says so above."
echo "$wanted" > "$stamp"
echo "setup: done"
