#!/usr/bin/env bash
# Drives the console, and a page with generated clients, in headless Chromium,
# against two instances of the service on one Redis. `make test-browser` installs
# and builds what this needs, and calls it.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
throughline=$target/debug/throughline
typescript=$target/clients/typescript
built=$target/clients/browser
export PATH=$typescript/node_modules/.bin:$PATH
# shellcheck source=tests/instances.sh
source tests/instances.sh

# The page with generated clients is served from an origin of its own.
export THROUGHLINE_PAGE=$built/page
export THROUGHLINE_NODE_MODULES=$typescript/node_modules
export THROUGHLINE_SCREENSHOTS=$built/screenshots
CHROMIUM=$(command -v "${CHROMIUM:-chromium}")
export CHROMIUM
page_port=$(node -e 'const s = require("net").createServer().listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); })')
export THROUGHLINE_PAGE_ORIGIN=http://127.0.0.1:$page_port

build_page() {
  rm -rf "$built" && mkdir -p "$built/page" "$THROUGHLINE_SCREENSHOTS"
  buf generate --template tests/clients/typescript/buf.gen.yaml --output "$built"
  cp tests/browser/page.{ts,html} "$built/page"
  NODE_PATH=$THROUGHLINE_NODE_MODULES esbuild "$built/page/page.ts" --bundle --format=esm --log-level=warning \
    --outfile="$built/page/page.js"
}

build_page
start_redis
start_instance a --cors-origin "$THROUGHLINE_PAGE_ORIGIN"
export THROUGHLINE_A=$address
start_instance b
export THROUGHLINE_B=$address

node --test tests/browser/*.test.mjs
echo "browser tests passed; screenshots are in $THROUGHLINE_SCREENSHOTS"
