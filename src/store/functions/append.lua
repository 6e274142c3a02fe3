--[[
  Appends text to an open block. Loads nothing and conflicts with nothing.
  Several deltas go in at once, or none of them.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Arguments:  1  block        '' for the last block, if that is an open text
              2  text         the deltas, joined
              3  fence
              4  offset       the length that the text must have, '' for any
              5  deltas       how many there are
              6  rest         number of the argument where the rest begins, ''
                              where there is none
              7+ entries      deltas with their time, without block and offset;
                              how many they are; bytes of their text
              rest            '1' to let the message live on, and to be told its
                              guard
                              owner, '' for any
                              time of the events, in microseconds
                              lease, '' for none: task:attempt; the fence does
                              not matter under it
                              then for each delta that has a request id: its
                              number from 0, its place in the text, request id,
                              fingerprint
  Log:        the entries
  Returns     "<sequence of the first event> <offset> <block>", with " <guard>"
              where that was asked for or a cancel was requested, or one of these
              words and what belongs to it:
              repeat    cursor, detail, field `fence`
              applied   block, offset, how many bytes of the text stand there
                        already; nothing was appended
              missing | terminal | fenced | reused | corrupt
              offset    length
              too_long  length
              unopened  the block is not open, or not the lease's: load and
                        decide
              split     one of several deltas is none of these: append them one
                        by one
]]
local function append(keys, args)
  local call = redis.call
  local message, block, text = keys[1], args[1], args[2]
  local is_single = args[5] == '1'
  local held
  if block == '' then
    held = call('HMGET', message, 'status', 'fence', 'log', 'tail')
    block = held[4]
  else
    held = call('HMGET', message, 'status', 'fence', 'log', 'open')
    if held[4] and not string.find(' ' .. held[4] .. ' ', ' ' .. block .. ' ', 1, true) then
      block = ''
    end
  end
  if not held[1] then
    return { 'missing' }
  end

  local entries_end, rest, repeats = #args, nil, nil
  if args[6] ~= '' then
    rest = tonumber(args[6])
    entries_end = rest - 1
    if args[rest + 1] ~= '' and args[rest + 1] ~= call('HGET', message, 'user') then
      return { 'missing' }
    end
    for at = rest + 4, #args, 4 do
      repeats = repeats or call('HGET', message, 'repeats') or ''
      local fingerprint, cursor, detail = recall(repeats, args[at + 2])
      if fingerprint and not is_single then
        return { 'split' }
      elseif fingerprint then
        return fingerprint == args[at + 3] and { 'repeat', cursor, detail, held[2] } or { 'reused' }
      end
    end
  end
  if held[1] ~= 'streaming' then
    return { 'terminal', held[1] }
  end
  local is_cancelled = false
  local lease = rest and args[rest + 3] or ''
  if lease ~= '' then
    local guard = call('HGET', message, 'guard') or ''
    local _, last = string.find(guard, ' ' .. lease .. ':', 1, true)
    local tail = last and string.match(guard, '^[^ ]+', last + 1) or ''
    if args[1] == '' then
      block = tail
    elseif args[1] ~= tail and not string.find(guard .. ' ', ' ' .. lease .. '/' .. args[1] .. ' ', 1, true) then
      block = ''
    end
  elseif held[2] ~= args[3] then
    is_cancelled = held[2] == args[3] .. ' cancel'
    if not is_cancelled then
      return { 'fenced' }
    end
  end
  if block == '' then
    return { 'unopened' }
  end

  local key = keys[2] .. block
  local offset = call('STRLEN', key)
  if args[4] ~= '' then
    local wanted = tonumber(args[4])
    if wanted ~= offset then
      local known = math.min(#text, offset - wanted)
      local is_there = known > 0
        and call('GETRANGE', key, wanted, wanted + known - 1) == string.sub(text, 1, known)
      if is_there and (known == #text or not is_single) then
        return { 'applied', block, args[4], known }
      end
      return is_single and { 'offset', offset } or { 'split' }
    end
  end
  if offset + #text > TEXT_BYTES_MAX then
    return is_single and { 'too_long', offset } or { 'split' }
  end

  call('APPEND', key, text)
  -- Fields 2 and 3 of an entry: block and offset of its first delta.
  local where = '\18' .. (#block < 128 and string.char(#block) or '\128\1') .. block .. '\25'
  local first
  local place = offset
  for at = 7, entries_end, 3 do
    local events = args[at] .. where .. struct.pack('<I8', place)
    local sequence = add_entry(held[3], events, args[at + 1])
    if not sequence then
      return { 'corrupt' }
    end
    first = first or sequence
    place = place + args[at + 2]
  end

  local answer = first .. ' ' .. offset .. ' ' .. block
  if rest then
    for at = rest + 4, #args, 4 do
      local cursor = string.format('%d-%s', first + args[at], args[rest + 2])
      local detail = string.format('%s %d', block, offset + args[at + 1])
      repeats = remember(repeats, args[at + 2], args[at + 3], cursor, detail)
    end
    if repeats then
      call('HSET', message, 'repeats', repeats)
    end
    if args[rest] == '1' then
      refresh(message, keys[2])
    end
  end
  if is_cancelled or lease ~= '' or rest and args[rest] == '1' then
    answer = answer .. ' ' .. (call('HGET', message, 'guard') or '')
  end
  return answer
end

register('append', append)
