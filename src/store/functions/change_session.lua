--[[
  Changes a session that exists: closes it, or replaces its metadata.

  Keys:       1  session   hash
  Arguments:  1  field     closed | metadata
              2  value     a time that was set stays
              3  time      in microseconds
  Returns     1, or 0 where there is no such session
]]
local function change_session(keys, args)
  local call = redis.call
  if call('EXISTS', keys[1]) == 0 then
    return 0
  end
  if args[1] == 'closed' and call('HSETNX', keys[1], 'closed', args[2]) == 0 then
    return 1
  end
  call('HSET', keys[1], args[1], args[2], 'updated', args[3])
  call('PEXPIRE', keys[1], SESSION_TTL)
  return 1
end

register('change_session', change_session)
