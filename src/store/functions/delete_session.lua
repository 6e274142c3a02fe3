--[[
  Erases a session whose messages are erased.

  Keys:       1  session   hash
              2  index     zset    messages by create time
              3  log       stream  of the session
  Log:        one entry stays a while, whose field is `deleted`, since a key that
              is erased does not wake those who read it
]]
local function delete_session(keys)
  redis.call('DEL', keys[1], keys[2])
  local last = redis.call('XADD', keys[3], 'MAXLEN', '1', '0-*', 'deleted', '1')
  redis.call('PEXPIRE', keys[3], FAREWELL)
  --push publish(keys[3], string.sub(last, 3), '')
  return 1
end

register('delete_session', delete_session, { 'allow-oom' })
