-- A page of a tenant's log after a position, without expired entries, and the head of the log; and what is known of its
-- trimmed entries, where some of them come after the position.
-- KEYS: log (stream), meta (hash), trimmed (sorted set)
-- ARGV: fresh epoch, epoch and offset of the position, bytes after which the page ends, '1' to trust what a restarted
--       server has, seconds until an idle log is forgotten, max seconds, rooms of which the last trimmed entry is
--       remembered
local fence = fence_of(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[5], ARGV[2], tonumber(ARGV[3]))
local epoch, head = fence[1], fence[2]
local time = redis.call('TIME')
local oldest = tonumber(time[1]) - tonumber(ARGV[7])
local max_bytes = tonumber(ARGV[4])

local function from(offset)
  return redis.call('XRANGE', KEYS[1], offset .. '-0', '+', 'COUNT', 1)[1]
end

local function is_old(entry)
  return entry and (tonumber(string.match(entry[2][2], '^%d+')) or oldest) < oldest
end

local function offset_of(entry)
  return tonumber(string.match(entry[1], '^%d+'))
end

local position = 0
if ARGV[2] == epoch then
  position = tonumber(ARGV[3])
end
local low = position + 1
-- An idle log is not trimmed: its expired entries are skipped, in O(log entries).
if is_old(from(low)) then
  local high = head + 1
  while low < high do
    local middle = math.floor((low + high) / 2)
    if is_old(from(middle)) then
      low = middle + 1
    else
      high = middle
    end
  end
end

-- All up to here is gone: trimmed or expired.
local first = from(1)
local gone = math.max(first and offset_of(first) or head + 1, low > position + 1 and low or 1) - 1
local known, floor = known_trimmed(KEYS[3]), fence[5]
if known < gone then
  local last, start, count, size = {}, gone .. '-0', 0, 0
  local lowest = gone + 1
  -- From the newest on, and not too many: an idle log that wakes up must not hold up the server.
  repeat
    local some = redis.call('XREVRANGE', KEYS[1], start, '(' .. known .. '-0', 'COUNT', 16)
    for _, found in ipairs(some) do
      local offset = offset_of(found)
      floor = math.max(floor, add_trimmed(last, offset - 1, offset, found[2][2]))
      if offset < lowest - 1 then
        floor = math.max(floor, lowest - 1)
      end
      lowest, count, size = offset, count + 1, size + #found[2][2]
      start = '(' .. found[1]
    end
  until #some < 16 or count >= 2000 or size >= 1048576
  if lowest > known + 1 then
    floor = math.max(floor, lowest - 1)
  end
  known = gone
  floor = remember_trimmed(KEYS[2], KEYS[3], last, known, floor, tonumber(ARGV[8]))
end

for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[6])
end

-- The rooms from the newest on, in half of the page: of the others nothing is known there.
local rooms, size = {}, 0
if ARGV[2] ~= epoch or known > position then
  local index = 0
  repeat
    local some = redis.call('ZREVRANGE', KEYS[3], index, index + 99, 'WITHSCORES')
    for i = 1, #some, 2 do
      if size * 2 > max_bytes then
        floor = math.max(floor, tonumber(some[i + 1]))
        break
      end
      rooms[#rooms + 1] = some[i]
      rooms[#rooms + 1] = some[i + 1]
      size = size + #some[i] + 16
    end
    index = index + 100
  until #some < 200 or size * 2 > max_bytes
end

local page, start = {}, low .. '-0'
repeat
  local some = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 16)
  for _, found in ipairs(some) do
    -- At least one: a follower must advance.
    if #page > 0 and size + #found[2][2] > max_bytes then
      return {epoch, head, page, time[1], known, floor, rooms}
    end
    page[#page + 1] = found
    size = size + #found[2][2]
    start = '(' .. found[1]
  end
until #some < 16
return {epoch, head, page, time[1], known, floor, rooms}
