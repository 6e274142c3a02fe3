--[[
  Appends text as `append` does, for callers who know the messages: the write
  that has to be fast. Where the guard of a message is another than it was,
  nothing is appended to it, and `append` finds out what to do. Each of the
  messages succeeds or fails alone; calls that have several cost Redis less.

  Keys:       for each message
              message      hash    the snapshot
              log          stream  its log
              text         string  the text of the block
  Arguments:  for each message
              guard        as the message must have it: see store/keys.rs
              text         the deltas, joined
              entry        deltas and what they share, up to where the offset
                           follows
              deltas       how many there are
  Log:        for each message the entry
  Returns     for each message, or for the only one by itself:
              "<offset><sequence of the first event>", the offset in 8 bytes,
              little endian; or one of these words:
              changed   the guard of the message, '' for none
              full      the text would be too long; `append` finds that out
                        without writing it first, which costs each append
              corrupt
]]
local KEYS_EACH, ARGUMENTS_EACH = 3, 4

local function extend_one(message, log, text_key, known, text, entry, deltas)
  local call = redis.call
  local guard = call('HGET', message, 'guard')
  if guard ~= known then
    return { 'changed', guard or '' }
  end
  local length = call('APPEND', text_key, text)
  local offset = length - #text
  if length > TEXT_BYTES_MAX then
    call('SET', text_key, call('GETRANGE', text_key, 0, offset - 1), 'KEEPTTL')
    return { 'full' }
  end
  local packed = struct.pack('<I8', offset)
  local first = add_entry(log, entry .. packed, deltas)
  if not first then
    return { 'corrupt' }
  end
  return packed .. first
end

local function extend(keys, args)
  if #keys == KEYS_EACH then
    return extend_one(keys[1], keys[2], keys[3], args[1], args[2], args[3], args[4])
  end
  local answers = {}
  for number = 0, #keys / KEYS_EACH - 1 do
    local key, arg = number * KEYS_EACH, number * ARGUMENTS_EACH
    local is_done, answer = pcall(
      extend_one,
      keys[key + 1], keys[key + 2], keys[key + 3],
      args[arg + 1], args[arg + 2], args[arg + 3], args[arg + 4]
    )
    -- What was raised is the text of the error.
    answers[number + 1] = is_done and answer or { err = answer }
  end
  return answers
end

register('extend', extend)
