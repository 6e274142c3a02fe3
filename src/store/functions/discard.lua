--[[
  Throws a ticket of a queue away.

  Keys:       1  queue    zset  tickets by when they can be taken, in milliseconds
              2  bell     list  silent where nothing is left
  Arguments:  1  ticket
]]
local function discard(keys, args)
  redis.call('ZREM', keys[1], args[1])
  if redis.call('EXISTS', keys[1]) == 0 then
    redis.call('DEL', keys[2])
  end
  return 1
end

register('discard', discard, { 'allow-oom' })
