--[[
  Does nothing, and is refused where a write would be: by a replica, and when
  memory has run out.
]]
local function probe()
  return 1
end

register('probe', probe)
