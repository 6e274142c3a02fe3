--[[
  Appends text to an open block: the write that has to be fast. Loads nothing
  and conflicts with nothing.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Arguments:  1  block        '' for the last block, if that is an open text
              2  text         one delta or several, joined
              3  events       the TEXT_DELTAs, without block and offset
              4  n            how many they are
              5  time         of the last one, in microseconds
              6  offset       the length that the text must have, '' for any
              7  fence
              8  request id   '' for none
              9  fingerprint  of the request
              10 owner        '' for any
              11 retained     entries that the log keeps
              12 length max   of a text
              13 ttl          of the message, in milliseconds
              14 content ttl  in milliseconds
              15 refresh      '1' to let the message live on
  Log:        n TEXT_DELTAs, as one entry
  Returns     ok        sequence of the last event, block, offset
              repeat    cursor, detail
              applied   block, offset; the text at that offset is the same
              missing | terminal | fenced | reused | corrupt
              offset    length
              too_long  length
              unopened  the block is not open: load and decide
]]
local function append(keys, args)
  local call = redis.call
  local message, block, text = keys[1], args[1], args[2]
  local held = call('HMGET', message, 'status', 'log', 'fence', 'tail', 'open', 'user', 'repeats')
  local status = held[1]
  if not status or (args[10] ~= '' and args[10] ~= held[6]) then
    return { 'missing' }
  end
  if args[8] ~= '' then
    local fingerprint, cursor, detail = recall(held[7] or '', args[8])
    if fingerprint then
      return fingerprint == args[9] and { 'repeat', cursor, detail } or { 'reused' }
    end
  end
  if status ~= 'streaming' then
    return { 'terminal', status }
  end
  if held[3] ~= args[7] then
    return { 'fenced' }
  end

  if block == '' then
    block = held[4]
  elseif not string.find(' ' .. held[5] .. ' ', ' ' .. block .. ' ', 1, true) then
    return { 'unopened' }
  end
  if block == '' then
    return { 'unopened' }
  end

  local key = keys[2] .. block
  if args[6] ~= '' then
    local length = call('STRLEN', key)
    local wanted = tonumber(args[6])
    if wanted ~= length then
      local ends = wanted + #text
      if ends <= length and call('GETRANGE', key, wanted, ends - 1) == text then
        return { 'applied', block, args[6] }
      end
      return { 'offset', length }
    end
  end

  local length = call('APPEND', key, text)
  local offset = length - #text
  if length > tonumber(args[12]) then
    call('SET', key, call('GETRANGE', key, 0, offset - 1), 'KEEPTTL')
    return { 'too_long', offset }
  end
  -- Fields 2 and 3 of the entry: block and offset of the first delta.
  local size = #block < 128 and string.char(#block) or '\128\1'
  local events = args[3] .. '\18' .. size .. block .. '\25' .. struct.pack('<I8', offset)
  local sequence = add_entry(held[2], args[11], events, args[4], false)
  if not sequence then
    return { 'corrupt' }
  end

  if args[8] ~= '' then
    local cursor = sequence .. '-' .. args[5]
    local detail = block .. ' ' .. string.format('%d', offset)
    call('HSET', message, 'repeats',
      remember(held[7] or '', args[8], args[9], cursor, detail))
  end
  if args[15] == '1' then
    refresh(message, keys[2], args[13], args[14])
  elseif offset == 0 then
    call('PEXPIRE', key, args[13])
  end
  return { 'ok', sequence, block, offset }
end

register('append', append)
