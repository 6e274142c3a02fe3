--[[
  Reads a message as it stands.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Returns     fields of the hash, the texts of its open blocks in order, the
              last entry of its log; nil where there is no such message
]]
local function load(keys)
  local fields = redis.call('HGETALL', keys[1])
  if #fields == 0 then
    return nil
  end
  local held = redis.call('HMGET', keys[1], 'log', 'open')
  local texts = {}
  for block in string.gmatch(held[2] or '', '%S+') do
    texts[#texts + 1] = redis.call('GET', keys[2] .. block) or ''
  end
  return { fields, texts, redis.call('XREVRANGE', held[1], '+', '-', 'COUNT', 1) }
end

register('load', load, { 'no-writes' })
