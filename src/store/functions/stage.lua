--[[
  Takes in a part of content that a commit is about to refer to. It is thrown away
  by itself where none does.

  Keys:       1  content  hash
  Arguments:  1  field    of the part
              2  bytes
  Returns     nothing
]]
local function stage(keys, args)
  redis.call('HSET', keys[1], args[1], args[2])
  redis.call('PEXPIRE', keys[1], STAGED_TTL)
end

register('stage', stage)
