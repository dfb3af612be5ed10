-- A page of a tenant's log after a position, the head of the log, and the record of its lost entries.
-- KEYS: those of fence.lua
-- ARGV: fresh epoch, epoch and offset of the position, bytes after which the page ends, '1' to trust the data of a
--       restarted server, seconds until an idle log is forgotten, max seconds, rooms of which the last lost entry is
--       remembered; what the reader knows: the last lost entry, the last item that was evicted, ends of items
-- Returns epoch, head, entries (id, fields, value of an item to which texts were appended), time; the highest offset that
-- was lost, the floor, rooms and offsets; the floor of items that were evicted, rooms and offsets; the offset of the
-- oldest change of an item; that of the first entry of the window; that of the last end of an item that was trimmed; on
-- the last page, where the reader may not know of some ends, those of the items up to its position, each as the step from
-- the one before, else nil.
local log = log_of(ARGV[1], ARGV[5], ARGV[2], tonumber(ARGV[3]))
local time = redis.call('TIME')
local max_bytes = tonumber(ARGV[4])
local same = ARGV[2] == log.epoch
local position = same and tonumber(ARGV[3]) or 0

local lost = {}
trim(log, lost, math.huge, math.huge, tonumber(time[1]) - tonumber(ARGV[7]), 2000)
store(log, lost, {}, tonumber(ARGV[8]), ARGV[6])

local newest = tonumber(redis.call('ZSCORE', KEYS[3], 'tenant') or 0)
local rooms, floor, size, evicted_rooms, pushed = {}, log.floor, 0, {}, log.pushed
if not same or math.max(newest, floor) > tonumber(ARGV[9]) then
  rooms, floor, size = lost_rooms(KEYS[3], log.floor, max_bytes / 4)
end
if not same or tonumber(redis.call('ZSCORE', KEYS[7], 'tenant') or 0) > tonumber(ARGV[10]) then
  local more
  evicted_rooms, pushed, more = lost_rooms(KEYS[7], log.pushed, max_bytes / 4)
  size = size + more
end

local page, start, full = {}, '(' .. position .. '-0', false
repeat
  local some = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 16)
  for _, found in ipairs(some) do
    local text, value = found[2][2], ''
    local _, op, id = parse(text)
    if op == 'append' then
      local offset = offset_of(found)
      local count = tonumber(redis.call('ZSCORE', KEYS[4], id) or 0) == offset and pieces_of(id)
      value = count and value_of(id, count) or redis.call('HGET', KEYS[6], '@' .. offset) or data_of(text)
    end
    -- At least one: a follower must advance.
    full = #page > 0 and size + #text + #value > max_bytes
    if full then
      break
    end
    page[#page + 1] = {found[1], found[2], value}
    size = size + #text + #value
    start = '(' .. found[1]
  end
until full or #some < 16
return {log.epoch, log.offset, page, time[1], newest, floor, rooms, pushed, evicted_rooms, oldest_item(log), log.first,
  log.ended, not full and position > 0 and log.ended > tonumber(ARGV[11]) and items_until(position)}
