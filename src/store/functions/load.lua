--[[
  Reads a message as it stands.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Arguments:  1  bytes        how long the texts may be together
  Returns     fields of the hash, the texts of its open blocks in order, or only
              their lengths where they are longer, and the last entry of its log;
              nil where there is no such message
]]
local function load(keys, args)
  local call = redis.call
  local fields = call('HGETALL', keys[1])
  if #fields == 0 then
    return nil
  end
  local held = call('HMGET', keys[1], 'log', 'open')
  local open, texts, total = {}, {}, 0
  for block in string.gmatch(held[2] or '', '%S+') do
    local key = keys[2] .. block
    open[#open + 1] = key
    -- Up to there it is one byte more than they may be long.
    texts[#open] = call('GETRANGE', key, 0, args[1])
    total = total + #texts[#open]
  end
  if total > tonumber(args[1]) then
    for index, key in ipairs(open) do
      texts[index] = call('STRLEN', key)
    end
  end
  return { fields, texts, call('XREVRANGE', held[1], '+', '-', 'COUNT', 1) }
end

register('load', load, { 'no-writes' })
