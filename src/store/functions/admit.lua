--[[
  Enters a message that is about to be created into its session's index, and
  announces it in the session's log. Index first, message second: an entry
  without a message is passed over by readers.

  Keys:       1  session   hash
              2  index     zset    messages by create time
              3  log       stream  of the session
  Arguments:  1  message
              2  time      in microseconds
              3  owner     '' for any
              4  event     that announces it
  Log:        the event, if the message is new to the index
  Returns     ok        the session's user, 1 where the entry is new
              missing | closed
]]
local function admit(keys, args)
  local call = redis.call
  local held = call('HMGET', keys[1], 'user', 'closed')
  if not held[1] or (args[3] ~= '' and args[3] ~= held[1]) then
    return { 'missing' }
  elseif held[2] then
    return { 'closed' }
  end
  local is_new = call('ZADD', keys[2], 'NX', args[2], args[1])
  if is_new == 1 then
    if not add_entry(keys[3], args[4], '1') then
      begin_log(keys[3], args[4], '1')
    end
    call('HSET', keys[1], 'updated', args[2])
  end
  for _, key in ipairs(keys) do
    call('PEXPIRE', key, SESSION_TTL)
  end
  return { 'ok', held[1], is_new }
end

register('admit', admit)
