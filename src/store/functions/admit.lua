--[[
  Enters a message that is about to be created into its session's index, and
  announces it in the session's log. Index first, message second: an entry
  without a message is passed over by readers.

  An entry that is there may be of an earlier message of that id, or of one that
  was not created after all. It is announced anew where the caller says so.

  Keys:       1  session   hash
              2  index     zset    messages by create time
              3  log       stream  of the session
  Arguments:  1  message
              2  time      in microseconds
              3  owner     '' for any
              4  event     that announces it
              5  before    an entry from before this time is entered anew; left out
                           for none
  Log:        the event, if the message is entered
  Returns     ok        the session's user, the time that its entry had before
                        if it had one
              missing | closed
]]
local function admit(keys, args)
  local call = redis.call
  local held = call('HMGET', keys[1], 'user', 'closed')
  if not held[1] or (args[3] ~= '' and args[3] ~= held[1]) then
    return { 'missing' }
  elseif held[2] then
    return { 'closed' }
  end
  local entered = call('ZSCORE', keys[2], args[1])
  if not entered or tonumber(entered) < (tonumber(args[5]) or 0) then
    call('ZADD', keys[2], args[2], args[1])
    if not add_entry(keys[3], args[4], '1') then
      begin_log(keys[3], args[4], '1')
    end
    call('HSET', keys[1], 'updated', args[2])
  end
  for _, key in ipairs(keys) do
    call('PEXPIRE', key, SESSION_TTL)
  end
  return { 'ok', held[1], entered }
end

register('admit', admit)
