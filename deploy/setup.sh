#!/usr/bin/env bash
# Everything `make setup` does, step by step. Usage: deploy/setup.sh VENV
# Each step says what it does; one that fails says which it was, why, and what to do.
set -uo pipefail
cd "$(dirname "$0")/.."

venv=$1
log=$(mktemp)
trap 'rm -f "$log"' EXIT

step() { # step TITLE REMEDY COMMAND...
    local title=$1 remedy=$2 begin=$SECONDS pid
    shift 2
    printf '%-60s' "$title"
    "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill "$pid" 2>/dev/null; rm -f "$log"; exit 130' INT TERM
    if [ -t 1 ]; then # on a terminal: seconds, and how far pip has come
        while kill -0 "$pid" 2>/dev/null; do
            printf '\r%-60s %3d s  %-32s' "$title" $((SECONDS - begin)) "$(progress)"
            sleep 0.5
        done
        printf '\r%-60s' "$title"
    fi
    if wait "$pid"; then
        printf ' %3d s  %-32s\n' $((SECONDS - begin)) ''
    else
        printf ' failed %-32s\n\n' ''
        { grep -iE '(^|[^-a-z])error' "$log" | head -n 5; echo ...; tail -n 10 "$log"; } | sed 's/^/    /'
        printf '\nset-up failed at: %s\nwhat to do: %s\n' "$title" "$remedy" >&2
        exit 1
    fi
}

progress() { # what pip's output says so far
    if grep -q '^Installing collected' "$log"; then
        echo "installing"
    elif grep -q '^Collecting' "$log"; then
        echo "$(grep -c '^Collecting' "$log") of $(grep -c '^[a-z].*==' requirements.lock) packages fetched"
    fi
}

right_version() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 13))' \
        >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in ${TICKLOOM_PYTHON:-} python3.12 python3.11 python3 python; do
        if right_version "$candidate"; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

if [ ! -x "$venv/bin/python" ] || ! right_version "$venv/bin/python"; then
    if ! python=$(find_python); then
        cat >&2 <<'END'
set-up failed at: finding Python
why: none of python3.12, python3.11, python3 is a Python 3.11 or 3.12 with the modules venv and ensurepip
what to do: install one (Debian and Ubuntu: apt-get install python3.11 python3.11-venv), or name it:
    make setup TICKLOOM_PYTHON=/path/to/python3.12
END
        exit 1
    fi
    rm -rf "$venv"
    step "virtual environment ($("$python" --version))" \
        "check that there is room for 2 GB here and that this directory can be written" \
        "$python" -m venv "$venv"
fi

# The lock is complete and hashed: --no-deps, because pip refuses a requirement with an extra that it names
step "Python packages from requirements.lock (about 1 minute)" \
    "check the network (and PIP_INDEX_URL, PIP_CERT if you are behind a proxy), then run make setup again" \
    "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --require-hashes \
    -r requirements.lock

# uv_build, which is in the lock, is looked for on the PATH
step "this project, editable" \
    "see the lines above; remove $venv and run make setup again" \
    env PATH="$PWD/$venv/bin:$PATH" "$venv/bin/python" -m pip install --disable-pip-version-check --no-deps --no-build-isolation --no-index -e .

echo "servers' and connectors' jars:"
"$venv/bin/python" -m tickloom setup || {
    echo "set-up failed at: jars (see the line above); then run make setup again" >&2
    exit 1
}

step "compiled decoders (about 1 minute)" \
    "see the lines above; \`$venv/bin/python -m tickloom ingest compile itch binance\` does it again" \
    "$venv/bin/python" -m tickloom ingest compile itch binance

step "compiled pre-trade gate (about half a minute)" \
    "see the lines above; \`$venv/bin/python -m tickloom risk compile\` does it again" \
    "$venv/bin/python" -m tickloom risk compile

step "compiled rules (about half a minute)" \
    "see the lines above; \`$venv/bin/python -m tickloom rules compile\` does it again" \
    "$venv/bin/python" -m tickloom rules compile
