--[[
  Erases a message with its log, texts and content.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
              3  due          zset    of what happens by itself
  Arguments:  1  session      that the message must be of
              2  message      its id
              3  user         whose session that is
  Log:        erased; one entry stays a while, whose field is `deleted`, since
              a key that is erased does not wake those who read it
  Bell:       rung
  Returns     1, or 0 where the user's session has no such message
]]
local function delete(keys, args)
  local call = redis.call
  local held = call('HMGET', keys[1], 'log', 'open', 'contents', 'session', 'user')
  local log = held[1]
  -- What is damaged can be erased: it may have no user.
  if held[4] ~= args[1] or (held[5] or args[3]) ~= args[3] then
    return 0
  end
  -- An entry of several events has the id of its first; the last id of the
  -- stream is that of its last.
  local sequence = 0
  if call('EXISTS', log) == 1 then
    local info = call('XINFO', 'STREAM', log)
    for place = 1, #info, 2 do
      if info[place] == 'last-generated-id' then
        sequence = string.sub(info[place + 1], 3)
      end
    end
  end
  call('DEL', keys[1], log)
  call('ZREM', keys[3], args[2])
  for block in string.gmatch(held[2] or '', '%S+') do
    call('DEL', keys[2] .. block)
  end
  for content in string.gmatch(held[3] or '', '%S+') do
    call('DEL', content)
  end
  local last = string.format('%d', sequence + 1)
  call('XADD', log, '0-' .. last, 'deleted', '1')
  call('PEXPIRE', log, FAREWELL)
  --push publish(log, last, '')
  ring(keys[1])
  return 1
end

register('delete', delete, { 'allow-oom' })
