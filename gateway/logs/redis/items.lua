-- The items of a log. `items` has for each item that is state the offset of its newest version, `former` for each that
-- has ended or was evicted; the stream has that version's entry, as long as it is kept. Where texts were appended,
-- `state` has the value in pieces: under the item's name and a line's end "pieces size", and with a number behind it the
-- data that the pieces begin with (0) and each piece. Under @ and an offset is the value of one that was evicted.

local MAX_PIECES = 64

local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local function entry_at(offset)
  return redis.call('XRANGE', KEYS[1], offset .. '-0', offset .. '-0')[1]
end

-- The rooms of an entry, and of a keyed one the operation and the item's name.
local function parse(text)
  local rooms, line = string.match(text, '^[^\n]*\n[^\n]*\n([^\n]*)\n([^\n]*)')
  if not rooms then
    return '', nil, nil
  end
  local op, key = string.match(line, '\t(%l+) (%S+)$')
  return rooms, op, key and key .. ' ' .. rooms
end

-- ---- JSON, as encoders write it: without white space

local function after_string(text, at)
  at = at + 1
  while true do
    at = string.find(text, '["\\]', at)
    if string.byte(text, at) == 34 then
      return at + 1
    end
    at = at + 2
  end
end

local function after_value(text, at)
  local first, depth = string.byte(text, at), 0
  if first == 34 then
    return after_string(text, at)
  elseif first ~= 123 and first ~= 91 then
    return string.find(text, '[,}%]]', at)
  end
  repeat
    at = string.find(text, '["{}%[%]]', at)
    local found = string.byte(text, at)
    if found == 34 then
      at = after_string(text, at)
    else
      depth = depth + ((found == 123 or found == 91) and 1 or -1)
      at = at + 1
    end
  until depth == 0
  return at
end

-- The names of an object's members in order, and their values by name.
local function members(object)
  local names, values, at = {}, {}, 2
  while string.byte(object, at) == 34 do
    local colon = after_string(object, at)
    local name, stop = string.sub(object, at, colon - 1), after_value(object, colon + 1)
    if not values[name] then
      names[#names + 1] = name
    end
    values[name] = string.sub(object, colon + 1, stop - 1)
    at = stop + 1
  end
  return names, values
end

-- The data of an entry: the member after the type, which has no quotes in it.
local function data_of(text)
  local body = string.match(text, '^[^\n]*\n[^\n]*\n[^\n]*\n[^\n]*\n(.*)$')
  local _, at = string.find(body, '"data":', 1, true)
  return string.sub(body, at + 1, after_value(body, at + 1) - 1)
end

-- The object with the appended pieces merged into it.
local function merged(object, pieces)
  local names, values = members(object)
  local texts = {}
  for _, piece in ipairs(pieces) do
    local added, news = members(piece)
    for _, name in ipairs(added) do
      local old, new = values[name], news[name]
      if old and string.byte(old) == 34 and string.byte(new) == 34 then
        local text = texts[name] or {string.sub(old, 2, -2)}
        text[#text + 1] = string.sub(new, 2, -2)
        texts[name] = text
      else
        if not old then
          names[#names + 1] = name
        end
        values[name], texts[name] = new, nil
      end
    end
  end
  local parts = {}
  for i, name in ipairs(names) do
    parts[i] = name .. ':' .. (texts[name] and '"' .. table.concat(texts[name]) .. '"' or values[name])
  end
  return '{' .. table.concat(parts, ',') .. '}'
end

-- ---- values in pieces

-- How many pieces an item has, and about how large its value is; nil for a value that is not in pieces.
local function pieces_of(id)
  local found = redis.call('HGET', KEYS[6], id .. '\n')
  if not found then
    return nil, nil
  end
  local count, size = string.match(found, '^(%d+) (%d+)$')
  return tonumber(count), tonumber(size)
end

local function fields_of(id, count)
  local fields = {}
  for i = 0, count do
    fields[i + 1] = id .. '\n' .. i
  end
  return fields
end

-- The value of an item of so many pieces.
local function value_of(id, count)
  local pieces = redis.call('HMGET', KEYS[6], unpack(fields_of(id, count)))
  return merged(table.remove(pieces, 1), pieces)
end

local function drop_pieces(id, count)
  redis.call('HDEL', KEYS[6], id .. '\n', unpack(fields_of(id, count)))
end

-- Makes room for a piece of an item's value: all pieces become one where they are many, or where the value may be too
-- large. Returns the number of pieces and the size with the new one; nothing where it is too large.
local function room_for(id, before, piece, max_size)
  local count, size = pieces_of(id)
  if not count then
    local base = data_of(before)
    count, size = 0, #base
    redis.call('HSET', KEYS[6], id .. '\n0', base, id .. '\n', '0 ' .. size)
  end
  if count < MAX_PIECES and size + #piece <= max_size then
    return count + 1, size + #piece
  end
  local whole = value_of(id, count)
  drop_pieces(id, count)
  redis.call('HSET', KEYS[6], id .. '\n0', whole, id .. '\n', '0 ' .. #whole)
  size = #whole + #piece
  if size > max_size then
    size = #merged(whole, {piece})
    if size > max_size then
      return nil, nil
    end
  end
  return 1, size
end

-- ---- the bounds of a log

-- Removes an entry from the stream. `lost` unless a newer version of its item is there.
local function remove(log, lost, entry, rooms)
  redis.call('XDEL', KEYS[1], entry[1])
  log.kept = log.kept - 1
  if lost then
    add_lost(lost, offset_of(entry), rooms)
  end
end

-- Drops the whole value of a text that was evicted.
local function drop_whole(log, offset)
  log.bytes = log.bytes - redis.call('HSTRLEN', KEYS[6], '@' .. offset)
  redis.call('HDEL', KEYS[6], '@' .. offset)
end

-- Trims the window by count, bytes and age, in bounded steps (`patience`): neither the expired entries of an idle log nor
-- those beyond lowered bounds may block the server. One event can push out at most as many entries as it has bytes.
local function trim(log, lost, max_events, max_bytes, oldest, patience)
  local least = patience - 2000
  while log.count > 0 and patience > least do
    local first = redis.call('XRANGE', KEYS[1], log.first .. '-0', '+', 'COUNT', 1)[1]
    if not first then
      log.count = 0
      break
    end
    local offset, text = offset_of(first), first[2][2]
    local old = patience > 0 and (tonumber(string.match(text, '^%d+')) or oldest) < oldest
    if not old and (log.count == 1 or (log.count <= max_events and log.bytes <= max_bytes)) then
      log.first = offset
      break
    end
    local rooms, op, id = parse(text)
    log.first, log.count, log.bytes = offset + 1, log.count - 1, log.bytes - #text
    if not (id and tonumber(redis.call('ZSCORE', KEYS[4], id) or 0) == offset) then
      remove(log, lost, first, rooms)
      if id and tonumber(redis.call('ZSCORE', KEYS[5], id) or 0) == offset then
        redis.call('ZREM', KEYS[5], id)
      end
      if op == 'delete' then
        log.ended = offset
      elseif op == 'append' then
        drop_whole(log, offset)
      end
    end
    patience = patience - 1
  end
end

-- Evicts items beyond the bounds of state, least recently changed first, with bounded patience as in `trim`: lowered bounds
-- may not block the server. In the window the newest version stays until it is trimmed or superseded, with the whole value.
local function evict(log, lost, pushed, max_items, max_bytes)
  local patience = 600
  while patience > 0 and (redis.call('ZCARD', KEYS[4]) > max_items or log.state > max_bytes) do
    patience = patience - 1
    local id, offset = unpack(redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES'))
    if not id then
      log.state = 0
      return
    end
    offset = tonumber(offset)
    redis.call('ZREM', KEYS[4], id)
    local count, size = pieces_of(id)
    local entry = entry_at(offset)
    local rooms = entry and parse(entry[2][2]) or ''
    add_lost(pushed, offset, rooms)
    log.state = log.state - (size or entry and #entry[2][2] or 0)
    if entry and offset < log.first then
      remove(log, lost, entry, rooms)
    elseif entry then
      redis.call('ZADD', KEYS[5], offset, id)
      if count then
        local whole = value_of(id, count)
        redis.call('HSET', KEYS[6], '@' .. offset, whole)
        log.bytes = log.bytes + #whole
        patience = patience - #whole / 1024
      end
    end
    if count then
      drop_pieces(id, count)
    end
  end
end

-- The offset of the oldest change of an item that is kept: those that changed before were evicted.
local function oldest_item(log)
  if redis.call('ZCARD', KEYS[4]) == 0 then
    return log.offset + 1
  end
  local found = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')
  return tonumber(found[2])
end

-- The steps from offset to offset of the items' newest versions up to a position, as a text; of former items too. One before
-- the first entry is gone: another program has trimmed the stream.
local function items_until(position)
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local steps, before = {}, 0
  for set = 4, 5 do
    local found = redis.call('ZRANGE', KEYS[set], first and offset_of(first) or '+inf', position, 'BYSCORE', 'WITHSCORES')
    for i = 2, #found, 2 do
      local offset = tonumber(found[i])
      steps[#steps + 1], before = string.format('%d', offset - before), offset
    end
  end
  return table.concat(steps, ' ')
end

-- Stores the log's metadata.
local function store(log, lost, pushed, max_rooms, idle)
  if next(lost) then
    log.floor = remember_lost(KEYS[3], lost, log.floor, max_rooms)
  end
  if next(pushed) then
    log.pushed = remember_lost(KEYS[7], pushed, log.pushed, max_rooms)
  end
  redis.call('HSET', KEYS[2], 'offset', log.offset, 'bytes', log.bytes, 'floor', log.floor, 'first', log.first,
    'count', log.count, 'kept', log.kept, 'state', log.state, 'pushed', log.pushed, 'keyed', log.keyed,
    'ended', log.ended)
  for i = 1, log.keyed == 1 and 7 or 3 do
    redis.call('EXPIRE', KEYS[i], idle)
  end
end

