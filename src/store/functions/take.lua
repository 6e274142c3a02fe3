--[[
  Takes tickets from a queue, the oldest first. They can be taken again a little
  later, unless whoever takes them has thrown them away by then.

  Keys:       1  queue    zset  tickets by when they can be taken, in milliseconds
              2  bell     list  rung again where there is more to take
  Arguments:  1  now
              2  count    tickets at most
              3  later    when they can be taken again
  Returns     tickets, each followed by its time; the time of the first that is
              left, '' for none
]]
local function take(keys, args)
  local call = redis.call
  local taken = call('ZRANGE', keys[1], '-inf', args[1], 'BYSCORE', 'LIMIT', 0, args[2],
    'WITHSCORES')
  for at = 1, #taken, 2 do
    call('ZADD', keys[1], args[3], taken[at])
  end
  local first = call('ZRANGE', keys[1], 0, 0, 'WITHSCORES')[2]
  if first and tonumber(first) <= tonumber(args[1]) then
    ring_queue(keys[2])
  end
  return { taken, first or '' }
end

register('take', take)
