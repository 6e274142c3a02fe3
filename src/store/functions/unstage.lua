--[[
  Throws content away that was staged, unless something refers to it by now.

  Keys:       contents  hashes
  Returns     nothing
]]
local function unstage(keys)
  for _, key in ipairs(keys) do
    if redis.call('HEXISTS', key, 'type') == 0 then
      redis.call('DEL', key)
    end
  end
end

register('unstage', unstage, { 'allow-oom' })
