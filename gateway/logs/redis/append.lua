-- Gives an event its place in a tenant's log: one atomic step for the fence, the idempotency key, the append, the
-- trimming and the telling.
-- KEYS: log (stream), meta (hash), trimmed (sorted set), key (string)
-- ARGV: fresh epoch, event, fingerprint ('' without a key), seconds a key lives, max events, max bytes, max seconds,
--       channel, '1' to trust what a restarted server has, seconds until an idle log is forgotten, rooms of which the
--       last trimmed entry is remembered
local fence = fence_of(KEYS[1], KEYS[2], KEYS[3], ARGV[1], ARGV[9], '', 0)
local epoch, offset, bytes = fence[1], fence[2], fence[3]
local known = known_trimmed(KEYS[3]) -- first of all: a user that may not ask this must not append either

if ARGV[3] ~= '' then
  local used = redis.call('GET', KEYS[4])
  if used then
    local at_epoch, at_offset, fingerprint, at = string.match(used, '^(%w+):(%d+):(%w+):([%d.]+)$')
    -- The event of a key of an earlier epoch is in no log any more: it is appended like a new one.
    if at_epoch == epoch then
      if fingerprint ~= ARGV[3] then
        return {'conflict', '', 0, ''}
      end
      return {'duplicate', at_epoch, tonumber(at_offset), at}
    end
  end
end

local time = redis.call('TIME')
local at = time[1] .. '.' .. string.format('%06d', time[2])
local entry = at .. '\n' .. ARGV[2]
local added = redis.pcall('XADD', KEYS[1], (offset + 1) .. '-0', 'e', entry)
if type(added) == 'table' and added.err then
  if not (string.find(added.err, 'equal or smaller') or string.find(added.err, 'WRONGTYPE')) then
    return added
  end
  -- Somebody else has written to the stream: it is not ours any more.
  fence = begin_anew(KEYS[1], KEYS[2], KEYS[3], ARGV[1], fence[4])
  epoch, offset, bytes, known = fence[1], fence[2], fence[3], 0
  redis.call('XADD', KEYS[1], '1-0', 'e', entry)
end
offset, bytes = offset + 1, bytes + #entry
local length = redis.call('XLEN', KEYS[1])

local max_events, max_bytes = tonumber(ARGV[5]), tonumber(ARGV[6])
local oldest = tonumber(time[1]) - tonumber(ARGV[7])
-- A few at a time for the old ones: an idle log that wakes up must not hold up the server. Nor may one whose bounds were
-- lowered; the most that one event can push out is as many as its bytes.
local patience = 32
local floor, last = fence[5], nil
while length > 1 and patience > -2000 do
  local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  local old = patience > 0 and tonumber(string.match(first[2][2], '^%d+')) < oldest
  if length <= max_events and bytes <= max_bytes and not old then
    break
  end
  last = last or {}
  local gone = tonumber(string.match(first[1], '^%d+'))
  if gone > known then
    floor = math.max(floor, add_trimmed(last, known, gone, first[2][2]))
    known = gone
  end
  redis.call('XDEL', KEYS[1], first[1])
  bytes = bytes - #first[2][2]
  length = length - 1
  patience = patience - 1
end

if last then
  remember_trimmed(KEYS[2], KEYS[3], last, known, floor, tonumber(ARGV[11]))
end

redis.call('HSET', KEYS[2], 'offset', offset, 'bytes', bytes)
for i = 1, 3 do
  redis.call('EXPIRE', KEYS[i], ARGV[10])
end
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[4], epoch .. ':' .. offset .. ':' .. ARGV[3] .. ':' .. at, 'EX', ARGV[4])
end
redis.call('PUBLISH', ARGV[8], epoch .. '\n' .. offset .. '\n' .. entry)
return {'appended', epoch, offset, at}
