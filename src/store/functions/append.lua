--[[
  Appends text to an open block: the write that has to be fast. Loads nothing
  and conflicts with nothing. Several deltas go in at once, or none of them.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Arguments:  1  block        '' for the last block, if that is an open text
              2  text         the deltas, joined
              3  time         of the events, in microseconds
              4  offset       the length that the text must have, '' for any
              5  fence
              6  owner        '' for any
              7  retained     entries that the log keeps
              8  length max   of a text
              9  ttl          of the message, in milliseconds
              10 content ttl  in milliseconds
              11 refresh      '1' to let the message live on
              12 events       how many deltas there are
              then two lists, each led by its length:
              entries         TEXT_DELTAs without block and offset, how many
                              they are, bytes of their text
              requests        number of its delta from 0, place of that in the
                              text, request id, fingerprint
  Log:        the entries
  Returns     ok        sequence of the first event, block, offset
              repeat    cursor, detail
              applied   block, offset; the text at that offset is the same
              missing | terminal | fenced | reused | corrupt
              offset    length
              too_long  length
              unopened  the block is not open: load and decide
              split     one of several deltas is none of these: append them one
                        by one
]]
local function append(keys, args)
  local call = redis.call
  local message, block, text = keys[1], args[1], args[2]
  local held = call('HMGET', message, 'status', 'log', 'fence', 'tail', 'open', 'user')
  local status = held[1]
  if not status or (args[6] ~= '' and args[6] ~= held[6]) then
    return { 'missing' }
  end

  local is_single = args[12] == '1'
  local requests = 14 + 3 * args[13]
  local repeats
  if args[requests] ~= '0' then
    repeats = call('HGET', message, 'repeats') or ''
    for at = requests + 1, #args, 4 do
      local fingerprint, cursor, detail = recall(repeats, args[at + 2])
      if fingerprint and not is_single then
        return { 'split' }
      elseif fingerprint then
        return fingerprint == args[at + 3] and { 'repeat', cursor, detail } or { 'reused' }
      end
    end
  end
  if status ~= 'streaming' then
    return { 'terminal', status }
  end
  if held[3] ~= args[5] then
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
  if args[4] ~= '' then
    local length = call('STRLEN', key)
    local wanted = tonumber(args[4])
    if wanted ~= length and not is_single then
      return { 'split' }
    elseif wanted ~= length then
      local ends = wanted + #text
      if ends <= length and call('GETRANGE', key, wanted, ends - 1) == text then
        return { 'applied', block, args[4] }
      end
      return { 'offset', length }
    end
  end

  local length = call('APPEND', key, text)
  local offset = length - #text
  if length > tonumber(args[8]) then
    call('SET', key, call('GETRANGE', key, 0, offset - 1), 'KEEPTTL')
    return is_single and { 'too_long', offset } or { 'split' }
  end
  -- Fields 2 and 3 of an entry: block and offset of its first delta.
  local size = #block < 128 and string.char(#block) or '\128\1'
  local where = '\18' .. size .. block .. '\25'
  local first
  local place = offset
  for at = 14, requests - 1, 3 do
    local events = args[at] .. where .. struct.pack('<I8', place)
    local last = add_entry(held[2], args[7], events, args[at + 1], false)
    if not last then
      return { 'corrupt' }
    end
    first = first or last - args[at + 1] + 1
    place = place + args[at + 2]
  end

  if repeats then
    for at = requests + 1, #args, 4 do
      local cursor = string.format('%d-%s', first + args[at], args[3])
      local detail = string.format('%s %d', block, offset + args[at + 1])
      repeats = remember(repeats, args[at + 2], args[at + 3], cursor, detail)
    end
    call('HSET', message, 'repeats', repeats)
  end
  if args[11] == '1' then
    refresh(message, keys[2], args[9], args[10])
  elseif offset == 0 then
    call('PEXPIRE', key, args[9])
  end
  return { 'ok', string.format('%d', first), block, offset }
end

register('append', append)
