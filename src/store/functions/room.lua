--[[
  Tells whether a queue can take another ticket. Where it is full, tickets go that
  are so old that their messages have most probably expired.

  Keys:       1  queue    zset  tickets by when they can be taken, in milliseconds
  Arguments:  1  limit    tickets at most
              2  old      tickets of before this time
  Returns     1, or 0 where it is full
]]
local function room(keys, args)
  local length = redis.call('ZCARD', keys[1])
  local limit = tonumber(args[1])
  if length >= limit then
    length = length - redis.call('ZREMRANGEBYSCORE', keys[1], '-inf', args[2])
  end
  return length < limit and 1 or 0
end

register('room', room)
