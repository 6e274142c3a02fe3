--[[
  Changes a session that exists: closes it, or replaces its metadata.

  Keys:       1  session   hash
              2  index     zset    messages by create time
              3  log       stream  of the session
  Arguments:  1  field     closed | metadata
              2  value     a time that was set stays
              3  time      in microseconds
  Returns     1, or 0 where nothing changes: there is no such session, or it is
              closed
]]
local function change_session(keys, args)
  local call = redis.call
  if call('EXISTS', keys[1]) == 0 then
    return 0
  end
  if args[1] == 'closed' and call('HSETNX', keys[1], 'closed', args[2]) == 0 then
    return 0
  end
  call('HSET', keys[1], args[1], args[2], 'updated', args[3])
  for _, key in ipairs(keys) do
    call('PEXPIRE', key, SESSION_TTL)
  end
  return 1
end

register('change_session', change_session)
