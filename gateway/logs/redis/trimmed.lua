-- The record of a log's lost entries: a sorted set with the offset of each room's last one, for so many rooms, the
-- lowest forgotten first; and in `meta` the floor, the highest offset that was forgotten. The room of the whole tenant
-- has the highest of all, and so is never forgotten. The same of the items that the bounds of state have cost.

-- Adds an entry to `last`, unless a later one of its rooms is there.
local function add_lost(last, offset, rooms)
  for room in string.gmatch(rooms, '[^,]+') do
    last[room] = math.max(offset, last[room] or 0)
  end
end

-- Merges `last` into the set. Returns the floor.
local function remember_lost(set, last, floor, max_rooms)
  local arguments = {}
  for room, offset in pairs(last) do
    arguments[#arguments + 1] = offset
    arguments[#arguments + 1] = room
    if #arguments >= 1000 then
      redis.call('ZADD', set, 'GT', unpack(arguments))
      arguments = {}
    end
  end
  if #arguments > 0 then
    redis.call('ZADD', set, 'GT', unpack(arguments))
  end
  local over = redis.call('ZCARD', set) - max_rooms - 1
  if over > 0 then
    local forgotten = redis.call('ZPOPMIN', set, over)
    floor = math.max(floor, tonumber(forgotten[#forgotten]))
  end
  return floor
end

-- Rooms and offsets from the newest on, in so many bytes, and the floor of those that are left out.
local function lost_rooms(set, floor, max_bytes)
  local rooms, size, index = {}, 0, 0
  repeat
    local some = redis.call('ZREVRANGE', set, index, index + 99, 'WITHSCORES')
    for i = 1, #some, 2 do
      if size > max_bytes then
        return rooms, math.max(floor, tonumber(some[i + 1])), size
      end
      rooms[#rooms + 1] = some[i]
      rooms[#rooms + 1] = some[i + 1]
      size = size + #some[i] + 16
    end
    index = index + 100
  until #some < 200
  return rooms, floor, size
end

