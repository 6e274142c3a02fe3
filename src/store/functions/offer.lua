--[[
  Puts a ticket into a queue, and wakes somebody who waits for it.

  Keys:       1  queue    zset  tickets by when they can be taken, in milliseconds
              2  bell     list
  Arguments:  1  how      'NX' to leave one alone that is there, 'CH' to move it
              2  from     when it can be taken
              3  ticket
]]
local function offer(keys, args)
  local call = redis.call
  call('ZADD', keys[1], args[1], args[2], args[3])
  -- Also for one that comes later: whoever wakes knows when to look again.
  ring_queue(keys[2])
  call('PEXPIRE', keys[1], MESSAGE_TTL)
  return 1
end

register('offer', offer)
