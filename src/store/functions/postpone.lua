--[[
  Says when a message is due that was taken, and lets it live on until then.
  Somebody who has said so since knows better.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
              3  due          zset    messages by time, in microseconds
  Arguments:  1  message      its id
              2  taken        the time that taking it has given it
              3  due          '-' where nothing will happen by itself
]]
local function postpone(keys, args)
  local call = redis.call
  local exists = call('EXISTS', keys[1]) == 1
  if exists and args[3] ~= '-' then
    refresh(keys[1], keys[2])
  end
  if tonumber(call('ZSCORE', keys[3], args[1])) ~= tonumber(args[2]) then
    return 0
  end
  if exists and args[3] ~= '-' then
    call('ZADD', keys[3], args[3], args[1])
  else
    call('ZREM', keys[3], args[1])
  end
  return 1
end

register('postpone', postpone, { 'allow-oom' })
