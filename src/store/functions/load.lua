--[[
  Reads a message as it stands, or tells that nothing has happened to it.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
  Arguments:  1  bytes        how long the texts may be together
              2  revision     that the caller knows, if it knows one
              3  last entry   of the log that the caller knows: its id
  Returns     the last entry of its log, alone where the caller knows both; else
              before it fields of the hash, and the texts of its open blocks in
              order, or only their lengths where they are longer;
              nil where there is no such message
]]
local function load(keys, args)
  local call = redis.call
  local held = call('HMGET', keys[1], 'log', 'open', 'revision')
  if not held[1] then
    return nil
  end
  local last = call('XREVRANGE', held[1], '+', '-', 'COUNT', 1)
  if held[3] == args[2] and last[1] and last[1][1] == args[3] then
    return { last }
  end
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
  return { call('HGETALL', keys[1]), texts, last }
end

register('load', load, { 'no-writes' })
