#!/bin/sh
# Installs what is missing on a Debian or Ubuntu machine, and says so. If
# nothing is, it ends in a few milliseconds.
#
#   scripts/setup.sh [x86_64] [i686] [msvc] [wine] [wine32] [pytest] [browser]
#                    [analysis]
#
# Without a part, all but wine32, which adds the architecture i386 to the
# machine and therefore must be asked for.

set -eu

# find_python_with MODULES: whether a Python here has them. The first python3
# on the path may not be the system's.
find_python_with() {
    for python in python3 /usr/bin/python3; do
        "$python" -c "import $1" 2>/dev/null && return 0
    done
    return 1
}

missing=
foreign=
for part in ${*:-x86_64 i686 msvc wine pytest browser analysis}; do
    case $part in
    x86_64) command -v x86_64-w64-mingw32-gcc >/dev/null \
                || missing="$missing gcc-mingw-w64-x86-64"
            command -v x86_64-w64-mingw32-windres >/dev/null \
                || missing="$missing binutils-mingw-w64-x86-64" ;;
    i686)   command -v i686-w64-mingw32-gcc >/dev/null \
                || missing="$missing gcc-mingw-w64-i686"
            command -v i686-w64-mingw32-windres >/dev/null \
                || missing="$missing binutils-mingw-w64-i686" ;;
    msvc)   command -v clang >/dev/null || missing="$missing clang"
            command -v llvm-rc >/dev/null || missing="$missing llvm"
            command -v lld-link >/dev/null || missing="$missing lld"
            [ -e /usr/include/wine/wine/windows/winsock2.h ] \
                || missing="$missing libwine-dev"
            command -v python3 >/dev/null || missing="$missing python3" ;;
    wine)   command -v wine >/dev/null || missing="$missing wine wine64"
            command -v python3 >/dev/null || missing="$missing python3" ;;
    wine32) [ -e /usr/lib/i386-linux-gnu/wine/i386-windows/ntdll.dll ] || {
                missing="$missing wine32:i386"
                foreign="dpkg --add-architecture i386"
            } ;;
    pytest) find_python_with "pytest, xdist" \
                || missing="$missing python3-pytest python3-pytest-xdist"
            command -v gcc >/dev/null || missing="$missing gcc libc6-dev" ;;
    browser) for name in chromium chromium-browser google-chrome chrome; do
                command -v $name >/dev/null && continue 2
            done
            missing="$missing chromium" ;;
    analysis) for name in clang-format clang-tidy cppcheck flake8; do
                command -v $name >/dev/null || missing="$missing $name"
            done
            command -v python3 >/dev/null || missing="$missing python3" ;;
    *)      echo "setup.sh: unknown part '$part'" >&2; exit 2 ;;
    esac
done
[ -n "$missing" ] || exit 0

install="apt-get install$missing"
[ -z "$foreign" ] || install="$foreign && apt-get update && $install"
if ! command -v apt-get >/dev/null; then
    echo "setup.sh: please install (Debian's names):$missing" >&2
    exit 1
fi
sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "setup.sh: run as root: $install" >&2
        exit 1
    fi
    sudo=sudo
fi
# Only one run installs at a time. This file is the lock; the system releases
# it when its holder ends.
exec 9<"$0"
if ! flock -n 9; then
    echo "waiting until another run has installed packages ..."
    flock 9
    exec sh "$0" "$@"  # check again what is missing
fi
echo "installing:$missing"
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086  # a list of packages is meant to be split
if ! { ${foreign:+$sudo $foreign} && $sudo apt-get update \
       && $sudo env DEBIAN_FRONTEND=noninteractive apt-get install --yes \
              --no-install-recommends $missing; } >"$log" 2>&1 </dev/null
then
    tail -n 20 "$log" >&2
    echo "setup.sh: apt-get could not install:$missing" >&2
    exit 1
fi
