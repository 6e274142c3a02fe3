--[[
  Enters a message that is about to be created into its session's index. Index
  first, message second: an entry without a message is passed over by readers.

  Keys:       1  session  hash
              2  index    zset  messages by create time
  Arguments:  1  message
              2  time     in microseconds
              3  ttl      in milliseconds
              4  owner    '' for any
  Returns     ok        the session's user, 1 where the entry is new
              missing | closed
]]
local function admit(keys, args)
  local call = redis.call
  local held = call('HMGET', keys[1], 'user', 'closed')
  if not held[1] or (args[4] ~= '' and args[4] ~= held[1]) then
    return { 'missing' }
  elseif held[2] then
    return { 'closed' }
  end
  local is_new = call('ZADD', keys[2], 'NX', args[2], args[1])
  if is_new == 1 then
    call('HSET', keys[1], 'updated', args[2])
  end
  call('PEXPIRE', keys[1], args[3])
  call('PEXPIRE', keys[2], args[3])
  return { 'ok', held[1], is_new }
end

register('admit', admit)
