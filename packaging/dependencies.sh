#!/bin/sh
# The dependency rules of deny.toml that need no tool beside cargo, and three of our own: the protocol stands on nothing,
# the command on system calls alone, and the client library never sees TLS or a runtime.
set -eu
cd "$(dirname "$0")/.."

wrong=0
complain() {
    echo "dependencies: $*" >&2
    wrong=1
}

tree() {
    cargo tree --locked --edges normal --prefix none --format "$1" "$2" "$3" | sed 's/ (\*)$//; /^$/d' | sort -u
}

allowed=' Apache-2.0 BSD-3-Clause ISC MIT Unicode-3.0 '
# "A OR B" is fine when one is; "A AND B" when both are. No package here nests deeper than one pair of brackets.
licence_ok() {
    rest=$(printf '%s' "$1" | sed 's|/| OR |g; s/ WITH LLVM-exception//g; s/ AND /\n/g')
    echo "$rest" | tr -d '()' | while IFS= read -r part; do
        good=no
        for word in $part; do
            case $allowed in *" $word "*) good=yes ;; esac
        done
        [ $good = yes ] || exit 1
    done
}

tree '{p}|{l}' --workspace --quiet >"${TMPDIR:-/tmp}/tlsifyd-tree.$$"
trap 'rm -f "${TMPDIR:-/tmp}/tlsifyd-tree.$$"' EXIT
while IFS='|' read -r package licence; do
    name=${package%% *}
    case $name in
    openssl | openssl-sys | native-tls | boring | ring) complain "$name: one TLS implementation, rustls on aws-lc-rs" ;;
    async-std | smol) complain "$name: one runtime, tokio" ;;
    env_logger) complain "$name: logs are tracing-subscriber's" ;;
    esac
    case $package in
    *'(http'* | *'(git'* | *'(ssh'*) complain "$name: comes from outside the registry" ;;
    esac
    case $package in
    *' (/'*) continue ;; # our own
    esac
    licence_ok "$licence" || complain "$name: licence \"$licence\" is not among$allowed"
done <"${TMPDIR:-/tmp}/tlsifyd-tree.$$"

[ "$(tree '{p}' --package tlsify-protocol | wc -l)" = 1 ] || complain "tlsify-protocol: depends on something"

# The command is to start like nothing: system calls and the protocol, without std where it is released.
for package in $(tree '{p}' --package tlsify | cut -d' ' -f1); do
    case $package in
    tlsify | tlsify-protocol | rustix | linux-raw-sys | bitflags) ;;
    *) complain "tlsify: depends on $package" ;;
    esac
done
if cargo tree --locked --package tlsify --edges normal,features --prefix none | grep -q '"std"'; then
    complain "tlsify: something turns std on"
fi

for banned in rustls tokio aws-lc-rs; do
    if tree '{p}' --package tlsify-client | grep -q "^$banned "; then
        complain "tlsify-client: depends on $banned"
    fi
done

if [ "$(tree '{p}' --package tlsifyd | grep -c '^rustls v')" != 1 ]; then
    complain "tlsifyd: more than one rustls, or none"
fi

exit $wrong
