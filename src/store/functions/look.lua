--[[
  Tells whether a message that is followed is still there, and its log the one
  that was read so far.

  Keys:       1  message   hash
              2  log       stream
  Arguments:  1  sequence  up to which the log was read
  Returns     1 where the message exists, last entry, last entry up to there
]]
local function look(keys, args)
  local call = redis.call
  return {
    call('EXISTS', keys[1]),
    call('XREVRANGE', keys[2], '+', '-', 'COUNT', 1),
    call('XREVRANGE', keys[2], '0-' .. args[1], '-', 'COUNT', 1),
  }
end

register('look', look, { 'no-writes' })
