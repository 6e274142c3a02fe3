--[[
  Makes a session, or finds it.

  Keys:       1  session   hash
              2  log       stream  of the session
  Arguments:  1  user
              2  metadata  JSON
              3  time      in microseconds
  Returns     created | found | taken
]]
local function create_session(keys, args)
  local user = redis.call('HGET', keys[1], 'user')
  if user then
    return user == args[1] and 'found' or 'taken'
  end
  -- What an earlier life of the id may have left.
  redis.call('DEL', keys[2])
  redis.call('HSET', keys[1], 'schema', '1', 'user', args[1], 'created', args[3],
    'updated', args[3], 'metadata', args[2])
  redis.call('PEXPIRE', keys[1], SESSION_TTL)
  return 'created'
end

register('create_session', create_session)
