#!/bin/sh
# Builds BusyBox' wget alone, from the source of this Debian, so that it starts `ssl_client` for https as it does on
# machines that cannot fork. Debian's own busybox never does: it has TLS inside, and asks `openssl` first.
#
#   busybox-wget.sh FOLDER     leaves FOLDER/wget, and does nothing when that is there and newer than this script
#
# Needs apt-get with a network behind it, dpkg-dev and a C compiler. Nothing outside FOLDER is changed.
set -eu

script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
mkdir -p "$1"
folder=$(cd "$1" && pwd)
if [ -n "$(find "$folder/wget" -newer "$script" 2>/dev/null)" ]; then
    echo "$folder/wget is there"
    exit
fi
work=$(mktemp -d "$folder/busybox.XXXXXX")
trap 'rm -rf "$work"' EXIT
cd "$work"
mkdir -p lists/partial cache/archives/partial

# The sources of where this machine's packages come from, in lists of our own.
. /etc/os-release
keys=/usr/share/keyrings/$ID-archive-keyring.gpg
[ -e "$keys" ] && signed=" [signed-by=$keys]" || signed=
apt-get indextargets --format '$(CREATED_BY) $(COMPONENT) $(RELEASE) $(REPO_URI)' |
    sed -n "s|^Packages main $VERSION_CODENAME \(.*\)|deb-src$signed \1 $VERSION_CODENAME main|p" |
    sort -u >sources.list
apt() {
    apt-get -qq -o Dir::Etc::sourcelist="$PWD/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::State::lists="$PWD/lists" -o Dir::Cache="$PWD/cache" \
        -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@"
}
apt update
apt source --only-source busybox
cd busybox-*/

# Nothing but wget, with https, for a machine without an MMU.
make allnoconfig >/dev/null
for option in NOMMU LONG_OPTS SHOW_USAGE WGET FEATURE_WGET_FTP FEATURE_WGET_HTTPS FEATURE_WGET_LONG_OPTIONS; do
    sed -i "s/^# CONFIG_$option is not set/CONFIG_$option=y/" .config
done
# What these options bring up is answered with its default.
make oldconfig </dev/null >/dev/null
make -j"$(nproc)" >make.log 2>&1 || {
    tail -20 make.log >&2
    exit 1
}
# A busybox with one applet is that applet. A name that is there names something whole.
mv busybox "$folder/wget"
