-- What several functions need. Nothing here says what is allowed.

local PREFIX = '@LIBRARY@_'

local function register(name, callback, flags)
  redis.register_function {
    function_name = PREFIX .. name,
    callback = callback,
    flags = flags or {},
  }
end

--[[
  The field `repeats` of a message: how many writes are remembered (two digits),
  then a line for each, oldest first: request id|fingerprint|cursor|detail
]]
local REPEATS_MAX = 64

-- The line of `request_id` as fingerprint, cursor, detail; nil where it is not
-- remembered.
local function recall(repeats, request_id)
  local _, last = string.find(repeats, '\n' .. request_id .. '|', 1, true)
  if last then
    return string.match(repeats, '^([^|]*)|([^|]*)|([^\n]*)', last + 1)
  end
end

-- `repeats` with one more line, and without the oldest where that is one too
-- many.
local function remember(repeats, request_id, fingerprint, cursor, detail)
  local count = tonumber(string.sub(repeats, 1, 2)) or 0
  local lines = string.sub(repeats, 3)
  if count == REPEATS_MAX then
    local second = string.find(lines, '\n', 2, true)
    lines = string.sub(lines, second)
  else
    count = count + 1
  end
  local line = table.concat({ request_id, fingerprint, cursor, detail }, '|')
  return string.format('%02d', count) .. lines .. '\n' .. line
end

-- Lets a message live on: its hash, its log, the texts of its open blocks, its
-- content.
local function refresh(message, text_prefix, ttl, content_ttl)
  local call = redis.call
  local held = call('HMGET', message, 'log', 'open', 'contents')
  call('PEXPIRE', message, ttl)
  call('PEXPIRE', held[1], ttl)
  for block in string.gmatch(held[2] or '', '%S+') do
    call('PEXPIRE', text_prefix .. block, ttl)
  end
  for content in string.gmatch(held[3] or '', '%S+') do
    call('PEXPIRE', content, content_ttl, 'GT')
  end
end

-- Adds n events as one entry and gives the sequence of the last of them. The
-- entry's id is the sequence of its first event.
local function add_entry(log, retained, events, n, mkstream)
  local call = redis.call
  local id
  if mkstream then
    id = call('XADD', log, 'MAXLEN', '~', retained, '0-*', 'e', events)
  else
    id = call('XADD', log, 'NOMKSTREAM', 'MAXLEN', '~', retained, '0-*', 'e', events)
  end
  if not id then
    return nil
  end
  local sequence = string.sub(id, 3)
  if n ~= '1' then
    sequence = string.format('%d', sequence + n - 1)
    call('XSETID', log, '0-' .. sequence)
  end
  return sequence
end
