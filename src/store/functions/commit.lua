--[[
  Writes what was decided on a loaded message, if the message is still the one
  it was decided on: creates it, or changes it.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
              3+ contents     hashes  to be written
  Arguments:  revision        that was loaded; '' where the message is created
              revision        from now on
              log             its key
              retained        entries that the log keeps
              ttl             of the message, in milliseconds
              content ttl     in milliseconds
              time            of the last event, in microseconds
              request id      '' for none
              fingerprint     of the request
              detail          what its repeat is answered with
              then lists, each led by its length:
              lengths         block, length that its text must have
              entries         events, how many they are
              fields          name, value
              texts           block, 'set' | 'append' | 'drop', text
              contents        bytes, or '' and block whose text is moved there;
                              size, media type, sha256, owner
  Log:        the entries
  Returns     ok        sequence of the last event
              missing | exists | conflict
]]
local function commit(keys, args)
  local call = redis.call
  local message, text_prefix, log = keys[1], keys[2], args[3]
  local place = 10
  local function next_argument()
    place = place + 1
    return args[place]
  end
  local function each(visit)
    for index = 1, tonumber(next_argument()) do
      visit(index)
    end
  end

  local revision = call('HGET', message, 'revision')
  if args[1] == '' and revision then
    return { 'exists' }
  elseif args[1] ~= '' and not revision then
    return { 'missing' }
  elseif args[1] ~= '' and revision ~= args[1] then
    return { 'conflict' }
  end
  local grown = false
  each(function()
    local block, length = next_argument(), next_argument()
    grown = grown or call('STRLEN', text_prefix .. block) ~= tonumber(length)
  end)
  if grown then
    return { 'conflict' }
  end

  if args[1] == '' then
    -- What an earlier life of the id may have left.
    call('DEL', log)
  end
  local sequence
  each(function()
    sequence = add_entry(log, args[4], next_argument(), next_argument(), true)
  end)
  each(function()
    call('HSET', message, next_argument(), next_argument())
  end)
  call('HSET', message, 'revision', args[2])

  local moved = {}
  each(function()
    local block, operation, text = next_argument(), next_argument(), next_argument()
    local key = text_prefix .. block
    if operation == 'drop' then
      moved[block] = call('GETDEL', key)
    elseif operation == 'set' then
      call('DEL', key)
    end
    if text ~= '' then
      call('APPEND', key, text)
    end
  end)
  each(function(index)
    local bytes, block = next_argument(), next_argument()
    if block ~= '' then
      bytes = moved[block]
    end
    call('HSET', keys[2 + index], 'type', next_argument(), 'size', next_argument(),
      'sha256', next_argument(), 'user', next_argument(), 'data', bytes)
    call('PEXPIRE', keys[2 + index], args[6])
  end)

  if args[8] ~= '' then
    local repeats = call('HGET', message, 'repeats') or ''
    local cursor = sequence .. '-' .. args[7]
    call('HSET', message, 'repeats', remember(repeats, args[8], args[9], cursor, args[10]))
  end
  refresh(message, text_prefix, args[5], args[6])
  return { 'ok', sequence }
end

register('commit', commit)
