--[[
  Takes members from an index that stand where they were seen: one that was entered
  anew meanwhile stays.

  Keys:       1  index    zset
  Arguments:  for each member
              score       that it was seen with
              member
  Returns     nothing
]]
local function forget(keys, args)
  local call = redis.call
  for at = 1, #args, 2 do
    local score = call('ZSCORE', keys[1], args[at + 1])
    if score and tonumber(score) == tonumber(args[at]) then
      call('ZREM', keys[1], args[at + 1])
    end
  end
end

register('forget', forget, { 'allow-oom' })
