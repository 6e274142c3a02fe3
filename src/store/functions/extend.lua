--[[
  Appends text as `append` does, for a caller who knows the message: the write
  that has to be fast. Where the guard is another than it was, nothing is
  appended, and `append` finds out what to do.

  Keys:       1  message      hash    the snapshot
              2  log          stream  its log
              3  text         string  the text of the block
  Arguments:  1  guard        as the message must have it: see store/keys.rs
              2  text         the deltas, joined
              3  entry        deltas and what they share, up to where the offset
                              follows
              4  deltas       how many there are
  Log:        the entry
  Returns     "<sequence of the first event> <offset>", or one of these words:
              changed   the guard of the message, '' for none
              corrupt
]]
local function extend(keys, args)
  local call = redis.call
  local guard = call('HGET', keys[1], 'guard')
  if guard ~= args[1] then
    return { 'changed', guard or '' }
  end
  local text = args[2]
  local length = call('APPEND', keys[3], text)
  local offset = length - #text
  if length > TEXT_BYTES_MAX then
    call('SET', keys[3], call('GETRANGE', keys[3], 0, offset - 1), 'KEEPTTL')
    return { 'changed', guard }
  end
  local first = add_entry(keys[2], args[3] .. struct.pack('<I8', offset), args[4])
  if not first then
    return { 'corrupt' }
  end
  return first .. ' ' .. offset
end

register('extend', extend)
