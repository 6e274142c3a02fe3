--[[
  Takes messages to which something is to happen by now. They are due again a
  little later, unless whoever takes them has written by then what comes next.

  Keys:       1  due      zset  messages by time, in microseconds
  Arguments:  1  now
              2  count    messages at most
              3  later    when they are due again
  Returns     messages; the time of the first that is due then, '' for none
]]
local function take_due(keys, args)
  local call = redis.call
  local due = call('ZRANGE', keys[1], '-inf', args[1], 'BYSCORE', 'LIMIT', 0, args[2])
  for _, message in ipairs(due) do
    call('ZADD', keys[1], args[3], message)
  end
  return { due, call('ZRANGE', keys[1], 0, 0, 'WITHSCORES')[2] or '' }
end

register('take_due', take_due)
