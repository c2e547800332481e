#!/bin/sh
# An IRC client that reads the server at 0 and writes to it at 1: joins a channel, says a line or waits for one, leaves.
# What it sees goes to standard error.
#
#   irc.sh NICK CHANNEL [TEXT]        without TEXT, until somebody says something
#
# Over TLS, with a certificate that is checked:
#
#   tlsify connect irc.example:6697 -- ./irc.sh me '#shell' 'hello from a shell'
set -eu
nick=$1 channel=$2 text=${3-}
return=$(printf '\r')

say() {
    printf '%s\r\n' "$*"
}

# For a person: whoever is there does not get to write what a terminal takes for a command.
show() {
    printf '%s\n' "$*" | tr -d '\000-\011\013-\037\177' >&2
}

say NICK "$nick"
say USER "$nick" 0 '*' ":a shell script"
while IFS= read -r line; do
    line=${line%"$return"}
    case $line in
    PING*) say PONG "${line#PING }" ;;
    # 001 is the server's welcome, 433 is a nick that is taken.
    :*" 001 "*) say JOIN "$channel" ;;
    :*" 433 "*)
        show "$nick is taken"
        exit 1
        ;;
    ":$nick!"*" JOIN "*)
        show "joined $channel"
        if [ -n "$text" ]; then
            say PRIVMSG "$channel" ":$text"
            say QUIT ":said it"
        fi
        ;;
    :*" PRIVMSG $channel :"*)
        from=${line%%!*}
        show "${from#:}: ${line#*" PRIVMSG $channel :"}"
        say QUIT ":heard it"
        ;;
    "ERROR "*)
        show "${line#ERROR :}"
        exit 0
        ;;
    esac
done
show "the server is gone"
exit 1
