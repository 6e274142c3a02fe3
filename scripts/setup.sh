#!/usr/bin/env bash
# Installs what is missing of the tools named as arguments, through the
# machine's package manager. What is there already is left as it is.
#
#   scripts/setup.sh compiler rust-lints redis python node chromium
set -euo pipefail

fail() {
  echo "setup: $*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" -eq 0 ]; then
    "$@"
  else
    sudo "$@"
  fi
}

apt_install() {
  as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes -qq --no-install-recommends "$@" >/dev/null
}

# The lists of a fresh machine are empty, those of an old one name versions
# that are gone: only then are they worth fetching.
apt_install_fresh() {
  apt_install "$@" 2>/dev/null || { as_root apt-get update -qq && apt_install "$@"; }
}

# install DEBIAN_PACKAGES BREW_PACKAGE: either may be several words.
install() {
  if have apt-get; then
    echo "setup: installing $1" >&2
    # shellcheck disable=SC2086
    apt_install_fresh $1
  elif have brew; then
    echo "setup: installing $2" >&2
    # shellcheck disable=SC2086
    brew install $2
  else
    fail "found neither apt-get nor brew: please install $2"
  fi
}

# Cargo links with the C compiler, and rustls's cryptography is partly C.
setup_compiler() {
  have cc || install "gcc libc6-dev" gcc
}

setup_rust_lints() {
  cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1 && return
  have rustup || fail "please install rustfmt and clippy for this Rust toolchain"
  rustup component add rustfmt clippy
}

# Told before anything is built: the service would refuse it after that.
redis_is_enough() {
  local version
  version=$(redis-server --version | sed -n 's/.* v=\([0-9]*\)\..*/\1/p')
  [ "${version:-0}" -ge 7 ]
}

setup_redis() {
  have redis-server || install redis-server redis
  redis_is_enough ||
    fail "redis-server 7.0 or later is needed, for which packages.redis.io has packages; here is:" \
      "$(redis-server --version)"
}

# Debian keeps the half of venv that brings pip in a package of its own.
python_is_enough() {
  python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

setup_python() {
  python_is_enough || install "python3 python3-venv" python3
  python_is_enough || fail "Python 3.10 or later is needed, with venv"
}

setup_node() {
  { have node && have npm; } || install "nodejs npm" node
  node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)' ||
    fail "Node 18 or later is needed, not $(node --version)"
}

# Debian has a package of this name, Ubuntu has none. A machine that has another
# browser of the family says so with CHROMIUM.
setup_chromium() {
  have "${CHROMIUM:-chromium}" || install chromium chromium || true
  have "${CHROMIUM:-chromium}" ||
    fail "${CHROMIUM:-chromium} is missing: name a browser of that family, as in CHROMIUM=google-chrome"
}

for tool in "$@"; do
  case "$tool" in
    compiler | rust-lints | redis | python | node | chromium) "setup_${tool//-/_}" ;;
    *) fail "do not know how to install '$tool'" ;;
  esac
done
