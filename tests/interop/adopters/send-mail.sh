#!/bin/bash
# Sends a mail over SMTP with STARTTLS (RFC 3207), or not at all:
#
#   send-mail.sh HOST PORT FROM TO <MESSAGE
#
# It runs twice: first on the connection as it is, then as the program of tlsify, with TLS around its 0 and 1. What was
# said before TLS is forgotten, as the RFC wants it: it could have been said by anybody.
set -eu

say() {
    printf '%s\r\n' "$*"
}

# Reads a reply of one line or several, and gives up unless it begins with this code. bash reads a socket byte by byte,
# so that nothing behind the reply is taken with it.
expect() {
    local line
    while IFS= read -r line; do
        reply+=$line$'\n'
        [[ $line == ???-* ]] || break
    done
    # What follows the code, text or not, is for people.
    if [[ ${line:0:3} != "$1" ]]; then
        echo "expected $1, and the server says: ${line//[^[:print:]]/}" >&2
        exit 1
    fi
}

hello() {
    reply=
    say EHLO "$HOSTNAME"
    expect 250
}

in_the_clear() {
    reply=
    expect 220
    hello
    if [[ $reply != *STARTTLS* ]]; then
        echo "the server has no STARTTLS, or somebody between us has taken it out" >&2
        exit 1
    fi
    say STARTTLS
    expect 220
}

under_tls() {
    hello
    say "MAIL FROM:<$1>"
    expect 250
    say "RCPT TO:<$2>"
    expect 250
    say DATA
    expect 354
    # Lines end with CR and LF on the wire, and one that begins with a dot gets another (RFC 5321 section 4.5.2).
    # The last one gets an end of line if it has none: the dot that ends it all would be a part of it.
    while IFS= read -r line || [[ -n $line ]]; do
        [[ $line == .* ]] && line=.$line
        say "${line%$'\r'}"
    done <&4
    say .
    expect 250
    echo "sent over $SSL_PROTOCOL" >&2
    say QUIT
    expect 221
}

if [[ $1 == --under-tls ]]; then
    under_tls "$2" "$3"
else
    # The message waits at 4, while 0 and 1 are the server.
    exec 4<&0 5<>"/dev/tcp/$1/$2"
    in_the_clear <&5 >&5
    exec tlsify connect --fd 5 "$1" -- "$0" --under-tls "$3" "$4"
fi
