#!/bin/sh
# What a change has to pass before its tests are run, cheapest first. Continuous integration runs the same.
# Needs cargo with rustfmt and clippy. TLSIFY_REQUIRE_TOOLS=1 makes a missing tool a failure where it says so.
set -eu
cd "$(dirname "$0")/.."

step() {
    echo "== $*"
}

step "lengths of files"
# The part before a file's tests; files of tests may be as long as their tests are many.
git ls-files -co --exclude-standard '*.rs' | grep -v -e '^tests/' -e '/tests/' -e 'tests\.rs$' | {
    long=0
    while IFS= read -r file; do
        lines=$(awk '/^#\[cfg\(test\)\]/ { nr = NR; getline; if ($0 ~ /^mod .*\{/) exit; nr = 0 } END { print nr ? nr - 1 : NR }' "$file")
        if [ "$lines" -gt 600 ]; then
            echo "$file: $lines lines, there is a seam to find" >&2
            long=1
        elif [ "$lines" -gt 400 ]; then
            echo "$file: $lines lines, is there a seam?"
        fi
    done
    [ $long = 0 ]
}

step "format"
cargo fmt --all --check

step "dependencies"
packaging/dependencies.sh
if command -v cargo-deny >/dev/null; then
    cargo deny --log-level error check --config packaging/deny.toml bans licenses sources
fi

step "shell scripts and units"
for script in packaging/*.sh tests/interop/adopters/*.sh tests/interop/adopters/openssl; do
    sh -n "$script"
done
bash -n .ci/run
if command -v systemd-analyze >/dev/null; then
    # The program and its user are not installed here; everything else is looked at as it stands.
    units=$(mktemp -d)
    trap 'rm -rf "$units"' EXIT
    cp packaging/tlsifyd.socket "$units"
    sed 's|/usr/bin/tlsifyd|/bin/true|; s|^User=.*|User=root|; s|^Group=.*|Group=root|' \
        packaging/tlsifyd.service >"$units/tlsifyd.service"
    systemd-analyze verify --man=no "$units/tlsifyd.service" "$units/tlsifyd.socket"
fi

step "manual pages"
if command -v mandoc >/dev/null; then
    mandoc -T lint -W warning packaging/man/*.1
fi
if command -v groff >/dev/null; then
    # It warns, and ends well.
    for page in packaging/man/*.1; do
        warnings=$(groff -man -Tutf8 -ww -z "$page" 2>&1)
        [ -z "$warnings" ] || { echo "$warnings" >&2; exit 1; }
    done
fi

step "lints"
cargo clippy --locked --workspace --all-targets -- -D warnings

step "documentation"
RUSTDOCFLAGS='-D warnings' cargo doc --locked --workspace --no-deps --quiet

step "layers, unsafe code, rustls' places"
cargo test --locked --quiet --package tlsifyd --test layers
