#!/bin/bash
# As irc.sh, on a connection that is bash's own:
#
#   irc-dial.sh HOST PORT NICK CHANNEL [TEXT]
set -eu
exec 5<>"/dev/tcp/$1/$2"
exec tlsify connect --fd 5 "$1" -- "${0%/*}/irc.sh" "${@:3}"
