--[[
  Reads what follows a place in a message's log, with the entry that holds the
  place itself, and how far the log reaches.

  Keys:       1  message  hash
  Arguments:  1  after    sequence; '0' for the first that is retained
              2  count    entries at most
              3  bytes    after which no further entry is read
              4  events   after which no further entry is read
  Returns     status, session, user, last entry, entry of the place,
              entries after that one (none where that one is gone);
              nil where there is no such message
]]
-- Entries may be long: few are read at once before it is seen how long they are.
local STEP_FIRST, STEP_MAX = 4, 64

local function replay(keys, args)
  local call = redis.call
  local held = call('HMGET', keys[1], 'status', 'log', 'session', 'user')
  local log = held[2]
  if not held[1] then
    return nil
  end
  local last = call('XREVRANGE', log, '+', '-', 'COUNT', 1)
  local place, from = {}, '-'
  if args[1] ~= '0' then
    place = call('XREVRANGE', log, '0-' .. args[1], '-', 'COUNT', 1)
    from = place[1] and '(' .. place[1][1]
  end

  local entries, bytes, first = {}, 0, nil
  local count, bytes_max, events_max = tonumber(args[2]), tonumber(args[3]), tonumber(args[4])
  local step = STEP_FIRST
  while from and #entries < count do
    local batch = call('XRANGE', log, from, '+', 'COUNT', math.min(step, count - #entries))
    from = #batch == step and '(' .. batch[step][1]
    step = math.min(2 * step, STEP_MAX)
    for _, entry in ipairs(batch) do
      local sequence = tonumber(string.sub(entry[1], 3))
      first = first or sequence
      if bytes >= bytes_max or sequence >= first + events_max then
        from = nil
        break
      end
      entries[#entries + 1] = entry
      bytes = bytes + #entry[2][2]
    end
  end
  return { held[1], held[3], held[4], last, place, entries }
end

register('replay', replay, { 'no-writes' })
