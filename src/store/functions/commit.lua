--[[
  Writes what was decided on a loaded message, if the message is still the one
  it was decided on: creates it, or changes it.

  Keys:       1  message      hash    the snapshot
              2  text prefix  string  this .. block id is the key of its text
              3  due          zset    of what happens by itself
              4+ contents     hashes  to be written, or staged
              then            hashes  content that goes
  Arguments:  revision        that was loaded; '' where the message is created
              revision        from now on
              log             its key
              time            of the last event, in microseconds
              request id      '' for none
              fingerprint     of the request
              detail          what its repeat is answered with
              message         its id
              due             when something happens to it by itself, in
                              microseconds; '' to leave that as it is, '-' where
                              nothing will
              then lists, each led by its length:
              lengths         block, length that its text must have
              parts           place among the contents, how many parts were staged
              entries         events, how many they are; perhaps none
              fields          name, value
              texts           block, 'set' | 'append' | 'drop', text
              contents        bytes, '' where they were staged; media type, size,
                              sha256, owner
              and the number of contents that go
  Log:        the entries
  Bell:       rung where the status or the fence is written: the message is new,
              has ended, has another writer or is to be cancelled
  Returns     ok        sequence of the last event, '0' where none was added
              lost      not all of what was staged is there
              missing | exists | conflict | corrupt
]]
local function commit(keys, args)
  local call = redis.call
  local message, text_prefix, log = keys[1], keys[2], args[3]
  local place = 9
  local function next_argument()
    place = place + 1
    return args[place]
  end
  local function each(visit)
    local length = tonumber(next_argument())
    for index = 1, length do
      visit(index)
    end
    return length
  end

  local revision = call('HGET', message, 'revision')
  if args[1] == '' and revision then
    return { 'exists' }
  elseif args[1] ~= '' and not revision then
    return { 'missing' }
  elseif args[1] ~= '' and revision ~= args[1] then
    return { 'conflict' }
  end
  local has_grown, is_lost = false, false
  each(function()
    local block, length = next_argument(), next_argument()
    has_grown = has_grown or call('STRLEN', text_prefix .. block) ~= tonumber(length)
  end)
  each(function()
    local content, parts = next_argument(), next_argument()
    is_lost = is_lost or call('HLEN', keys[3 + content]) ~= tonumber(parts)
  end)
  if has_grown then
    return { 'conflict' }
  elseif is_lost then
    return { 'lost' }
  end

  if args[1] == '' then
    -- What an earlier life of the id may have left.
    call('DEL', log)
  end
  local sequence
  local entries = each(function()
    local events, n = next_argument(), next_argument()
    local is_first = args[1] == '' and not sequence
    local first = (is_first and begin_log or add_entry)(log, events, n)
    sequence = first and string.format('%d', first + n - 1)
  end)
  if not sequence and entries > 0 then
    return { 'corrupt' }
  end
  local rings = false
  each(function()
    local name, value = next_argument(), next_argument()
    call('HSET', message, name, value)
    rings = rings or name == 'status' or name == 'fence'
  end)
  call('HSET', message, 'revision', args[2])

  each(function()
    local block, operation, text = next_argument(), next_argument(), next_argument()
    local key = text_prefix .. block
    if operation == 'drop' then
      call('DEL', key)
    elseif operation == 'set' then
      -- Also an empty one: it must exist to be kept as long as its message.
      call('SET', key, text)
    else
      call('APPEND', key, text)
    end
  end)
  local contents = each(function(index)
    local content, bytes = keys[3 + index], next_argument()
    call('HSET', content, 'type', next_argument(), 'size', next_argument(),
      'sha256', next_argument(), 'user', next_argument())
    if bytes ~= '' then
      call('HSET', content, 'data', bytes)
    end
    call('PEXPIRE', content, CONTENT_TTL)
  end)
  each(function(index)
    call('UNLINK', keys[3 + contents + index])
  end)

  if args[5] ~= '' then
    local repeats = call('HGET', message, 'repeats') or ''
    local cursor = sequence .. '-' .. args[4]
    call('HSET', message, 'repeats', remember(repeats, args[5], args[6], cursor, args[7]))
  end
  if args[9] == '-' then
    call('ZREM', keys[3], args[8])
  elseif args[9] ~= '' then
    call('ZADD', keys[3], args[9], args[8])
  end
  refresh(message, text_prefix)
  if rings then
    ring(message)
  end
  return { 'ok', sequence or '0' }
end

register('commit', commit)
