-- What is known of a log's trimmed entries: a sorted set with the offset of each room's last one, for so many rooms, the
-- oldest forgotten first; and in `meta` the floor, the highest offset that was forgotten. The room of the whole tenant
-- has the offset up to which all of them are in there, and so is never the oldest.

local function known_trimmed(trimmed)
  return tonumber(redis.call('ZSCORE', trimmed, 'tenant') or 0)
end

-- Adds a trimmed entry to `last`, unless a later one of its rooms is there. Returns the offset up to which rooms are to
-- be forgotten: those of entries that are gone unseen, or are none of this log.
local function add_trimmed(last, known, offset, entry)
  local rooms = string.match(entry, '^[^\n]*\n[^\n]*\n([^\n]*)')
  if not rooms then
    return offset
  end
  for room in string.gmatch(rooms, '[^,]+') do
    last[room] = math.max(offset, last[room] or 0)
  end
  return offset > known + 1 and offset - 1 or 0
end

-- Puts what is in `last` into the set; all entries up to `known` are then in there, or under the floor. Returns that.
local function remember_trimmed(meta, trimmed, last, known, floor, max_rooms)
  last.tenant = known
  local arguments = {}
  for room, offset in pairs(last) do
    arguments[#arguments + 1] = offset
    arguments[#arguments + 1] = room
    if #arguments >= 1000 then
      redis.call('ZADD', trimmed, unpack(arguments))
      arguments = {}
    end
  end
  if #arguments > 0 then
    redis.call('ZADD', trimmed, unpack(arguments))
  end
  local over = redis.call('ZCARD', trimmed) - max_rooms - 1
  if over > 0 then
    local forgotten = redis.call('ZPOPMIN', trimmed, over)
    floor = math.max(floor, tonumber(forgotten[#forgotten]))
  end
  redis.call('HSET', meta, 'floor', floor)
  return floor
end

