#!/usr/bin/env bash
# What the tests need besides Python packages. Installs what is missing where apt-get may be used, else says what to install.
set -euo pipefail

# need | Debian and Ubuntu | Fedora | Homebrew | for
REQUIRED='
g++          | g++            | gcc-c++        | gcc             | building simulations
make         | make           | make           | make            | building simulations
perl         | perl           | perl           | perl            | starting Verilator
iverilog     | iverilog       | iverilog       | icarus-verilog  | simulating with Icarus Verilog
'
OPTIONAL='
ccache       | ccache         | ccache         | ccache          | repeated builds of simulations, many times faster
zlib.h       | zlib1g-dev     | zlib-devel     | zlib            | waveforms in FST form
lz4.h        | liblz4-dev     | lz4-devel      | lz4             | waveforms in FST form
chromium     | chromium       | chromium       | chromium        | testing the HTML report in a browser (skipped without)
'

is_there() {
    case $1 in
        *.h) echo "#include <$1>" | g++ -E -x c++ - >/dev/null 2>&1 ;;
        chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
        *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

missing_rows() { # of one table
    while IFS= read -r row; do
        read -r need _ <<<"$row"
        [ -z "$need" ] || is_there "$need" || echo "$row"
    done <<<"$1"
}

column() { # number of the column; rows on standard input
    cut -d'|' -f"$1" | sed 's/^ *//; s/ *$//' | paste -sd' '
}

apt_install() {
    DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

missing=$(missing_rows "$REQUIRED")
wished=$(missing_rows "$OPTIONAL")
[ -n "$missing$wished" ] || exit 0

as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n --preserve-env=DEBIAN_FRONTEND)
if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    echo "Installing system packages with apt-get: $(printf '%s\n' "$missing" "$wished" | sed '/^$/d' | column 2)"
    "${as_root[@]}" apt-get update -qq || true # an old list may do
    [ -z "$missing" ] || apt_install $(column 2 <<<"$missing") || true
    for package in $([ -z "$wished" ] || column 2 <<<"$wished"); do apt_install "$package" || true; done
    missing=$(missing_rows "$REQUIRED")
    wished=$(missing_rows "$OPTIONAL")
fi

while IFS='|' read -r need debian fedora homebrew purpose; do
    [ -z "$need" ] || echo "note: no ${need%% *}: wanted for${purpose}"
done <<<"$wished"

if [ -n "$missing" ]; then
    {
        echo "Missing on this system: $(column 1 <<<"$missing"). Install and run make again:"
        echo "  Debian, Ubuntu: apt-get install $(column 2 <<<"$missing")"
        echo "  Fedora:         dnf install $(column 3 <<<"$missing")"
        echo "  macOS:          brew install $(column 4 <<<"$missing")"
    } >&2
    exit 1
fi
