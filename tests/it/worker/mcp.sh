#!/bin/sh
# An MCP server over stdin and stdout, as small as one can be. `die` ends it.
while read -r line; do
  id=$(printf '%s' "$line" | sed -n 's/.*"id":\([0-9]*\).*/\1/p')
  answer() { printf '{"jsonrpc":"2.0","id":%s,"result":%s}\n' "$id" "$1"; }
  case $line in
  *'"method":"initialize"'*)
    answer '{"protocolVersion":"2025-06-18","capabilities":{"tools":{}},"serverInfo":{"name":"t","version":"1"}}'
    ;;
  *'"method":"tools/list"'*)
    schema='"inputSchema":{"type":"object"}'
    answer "{\"tools\":[{\"name\":\"add\",$schema},{\"name\":\"fail\",$schema},{\"name\":\"die\",$schema},{\"name\":\"picture\",$schema},{\"name\":\"slow\",$schema},{\"name\":\"secret\",$schema}]}"
    ;;
  *'"name":"add"'*) answer '{"content":[{"type":"text","text":"the sum is 3"}]}' ;;
  *'"name":"fail"'*) answer '{"content":[{"type":"text","text":"out of paper"}],"isError":true}' ;;
  *'"name":"picture"'*)
    answer '{"content":[{"type":"image","data":"iVBORw==","mimeType":"image/png"}]}'
    ;;
  *'"name":"die"'*) exit 1 ;;
  esac
done
