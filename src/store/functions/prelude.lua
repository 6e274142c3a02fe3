-- What several functions need. Nothing here says what is allowed.

local PREFIX = '@LIBRARY@_'

-- Settings are part of the library, so that no call has to carry them: instances
-- with other settings have another library. Times are in milliseconds.
local MESSAGE_TTL = '@MESSAGE_TTL@'
local CONTENT_TTL = '@CONTENT_TTL@'
local SESSION_TTL = '@SESSION_TTL@'
local RETAINED = '@RETAINED@'
local TEXT_BYTES_MAX = @TEXT_BYTES_MAX@
-- What the channel of a log is named before its key, and the channel of the bell.
local CHANNELS = '@CHANNELS@'
local BELL = '@BELL@'
-- How long content stays that no commit refers to yet.
local STAGED_TTL = '60000'
-- How long the last entry of a log stays that was deleted.
local FAREWELL = '60000'

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
local function refresh(message, text_prefix)
  local call = redis.call
  local held = call('HMGET', message, 'log', 'open', 'contents')
  call('PEXPIRE', message, MESSAGE_TTL)
  call('PEXPIRE', held[1], MESSAGE_TTL)
  for block in string.gmatch(held[2] or '', '%S+') do
    call('PEXPIRE', text_prefix .. block, MESSAGE_TTL)
  end
  for content in string.gmatch(held[3] or '', '%S+') do
    call('PEXPIRE', content, CONTENT_TTL, 'GT')
  end
end

-- Publishes an entry that was added to a log; '' is the last of one that is
-- deleted. Called from lines that begin with `--push`, which are no comments
-- where entries are published. A write does not fail because nobody may be told.
local function publish(log, first, events)
  redis.pcall('PUBLISH', CHANNELS .. log, first .. ' ' .. events)
end

-- Tells all instances that a message has come to exist, has ended, is gone, is to
-- be cancelled or has another writer.
local function ring(message)
  redis.pcall('PUBLISH', BELL, message)
end

-- A log is trimmed once in so many events: with each of them it would cost a
-- tenth of the write, and Redis forgets only about a hundred entries at a time.
local TRIM_INTERVAL = 64

-- Adds n events as one entry to a log that exists, and gives the sequence of the
-- first of them, which is the entry's id. None where there is no log.
local function add_entry(log, events, n)
  local call = redis.call
  local id = call('XADD', log, 'NOMKSTREAM', '0-*', 'e', events)
  if not id then
    return nil
  end
  local first = string.sub(id, 3)
  local last = first
  if n ~= '1' then
    last = first + n - 1
    call('XSETID', log, string.format('0-%d', last))
  end
  if last % TRIM_INTERVAL < tonumber(n) then
    call('XTRIM', log, 'MAXLEN', '~', RETAINED)
  end
  --push publish(log, first, events)
  return first
end

-- The same for a log that is begun by it.
local function begin_log(log, events, n)
  redis.call('XADD', log, '0-*', 'e', events)
  if n ~= '1' then
    redis.call('XSETID', log, '0-' .. n)
  end
  --push publish(log, '1', events)
  return '1'
end

-- Wakes one of those who wait for a queue, now or when they next wait for it.
local function ring_queue(bell)
  if redis.call('EXISTS', bell) == 0 then
    redis.call('RPUSH', bell, '1')
    redis.call('PEXPIRE', bell, MESSAGE_TTL)
  end
end
