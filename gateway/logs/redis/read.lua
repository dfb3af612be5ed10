-- A page of a tenant's log after a position, without expired entries, and the head of the log.
-- KEYS: log (stream), meta (hash)
-- ARGV: fresh epoch, epoch and offset of the position, bytes after which the page ends, '1' to trust what a restarted
--       server has, seconds until an idle log is forgotten, max seconds
local fence = fence_of(KEYS[1], KEYS[2], ARGV[1], ARGV[5], ARGV[2], tonumber(ARGV[3]))
local epoch, head = fence[1], fence[2]
local time = redis.call('TIME')
local oldest = tonumber(time[1]) - tonumber(ARGV[7])

local function from(offset)
  return redis.call('XRANGE', KEYS[1], offset .. '-0', '+', 'COUNT', 1)[1]
end

local function is_old(entry)
  return entry and (tonumber(string.match(entry[2][2], '^%d+')) or oldest) < oldest
end

local low = 1
if ARGV[2] == epoch then
  low = tonumber(ARGV[3]) + 1
end
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

redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[6])
local page, size, start = {}, 0, low .. '-0'
repeat
  local some = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 16)
  for _, found in ipairs(some) do
    -- At least one: a follower must advance.
    if size > 0 and size + #found[2][2] > tonumber(ARGV[4]) then
      return {epoch, head, page, time[1]}
    end
    page[#page + 1] = found
    size = size + #found[2][2]
    start = '(' .. found[1]
  end
until #some < 16
return {epoch, head, page, time[1]}
