--[[
  Takes in a part of content that a commit is about to refer to, or lets what there
  is of it stay. It is thrown away by itself where nothing comes to refer to it.

  Keys:       1  content  hash
  Arguments:  1  field    of the part; left out with the bytes where none comes
              2  bytes
  Returns     how many parts there are
]]
local function stage(keys, args)
  local call = redis.call
  -- A part may come late, by a connection that was given up.
  if call('HEXISTS', keys[1], 'type') == 1 then
    return 0
  end
  if args[1] then
    call('HSET', keys[1], args[1], args[2])
  end
  call('PEXPIRE', keys[1], STAGED_TTL)
  return call('HLEN', keys[1])
end

register('stage', stage)
