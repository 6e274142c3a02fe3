--[[
  Lets a message live on because somebody watches it. Needs no memory, so it
  works when Redis has none left.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Returns     1, or 0 where there is no such message
]]
local function keep(keys)
  if redis.call('EXISTS', keys[1]) == 0 then
    return 0
  end
  refresh(keys[1], keys[2])
  return 1
end

register('keep', keep, { 'allow-oom' })
