#!/usr/bin/env bash
# Plays the tests of the generated clients, the README's first programs, the
# workers in examples/, agents and what the OpenAPI document says against instances of
# the service on one Redis, and the official clients of OpenAI and MCP against what
# agents are tested with. `make test` installs and builds what this needs, and calls
# it.
set -euo pipefail
cd "$(dirname "$0")/../.."

target=$(mkdir -p "${CARGO_TARGET_DIR:-target}" && cd "${CARGO_TARGET_DIR:-target}" && pwd)
throughline=$target/debug/throughline
python=$target/clients/python
typescript=$target/clients/typescript
generated=$python/generated
export PYTHONPATH=$generated PYTHONDONTWRITEBYTECODE=1
export PATH=$python/venv/bin:$typescript/node_modules/.bin:$PATH

# shellcheck source=tests/instances.sh
source tests/instances.sh

generate() {
  rm -rf "$generated" "$typescript"/{gen,dist,*.ts}
  mkdir -p "$generated"
  python -m grpc_tools.protoc --proto_path=proto \
    --python_out="$generated" --grpc_python_out="$generated" proto/throughline/v1/*.proto
  buf generate --template tests/clients/typescript/buf.gen.yaml --output "$typescript"
}

# readme_program LANGUAGE: the first program of that language in the README, made
# to call the instance under test.
readme_program() {
  awk -v fence="\`\`\`$1" '$0 == fence { on = 1; next } /^```$/ { if (on) exit } on' README.md |
    sed "s/localhost:50051/$THROUGHLINE_A/"
}

build_programs() {
  readme_program python >"$python/quickstart.py"
  cp tests/clients/typescript/{*.ts,tsconfig.json} examples/worker.ts "$typescript"
  readme_program bash >"$python/quickstart.sh"
  readme_program typescript >"$typescript/quickstart.ts"
  tsc --project "$typescript"
}

# run_quickstart COMMAND...: the README's programs all write this text.
run_quickstart() {
  "$@" | tee "$scratch/quickstart" | grep -q 'Hello, world' ||
    { echo "no text from $*:" && cat "$scratch/quickstart" && return 1; } >&2
}

# check_openapi ADDRESS: plays what the document allows and forbids. Left out are
# streams, which do not end, and that all is accepted that has the right shape: a
# page token that nobody gave out has it as well.
check_openapi() {
  schemathesis run "http://$1/openapi.json" \
    --phases coverage,fuzzing --max-examples 10 --generation-deterministic \
    --exclude-checks positive_data_acceptance --exclude-path-regex '/stream$' \
    --workers 2 --request-timeout 30 --continue-on-failure --no-color
}

generate
start_redis
start_instance a
export THROUGHLINE_A=$address
start_instance b
export THROUGHLINE_B=$address
start_instance c
export THROUGHLINE_C=$address THROUGHLINE=$throughline
build_programs
export THROUGHLINE_WORKER_JS=$typescript/dist/worker.js
export THROUGHLINE_MODEL=$target/debug/throughline-model

pytest -p no:cacheprovider tests/clients/python
node --test "$typescript"/dist/*.test.js
run_quickstart python "$python/quickstart.py"
run_quickstart node "$typescript/dist/quickstart.js"
run_quickstart bash "$python/quickstart.sh"
check_openapi "$THROUGHLINE_A"
echo "client tests passed"
