-- KEYS 1 to 7 of every script: log (stream), meta (hash), trimmed (sorted set), items (sorted set), former (sorted set),
-- state (hash), evicted (sorted set).

-- Begins a new epoch: offsets count from 1 again, and cannot be confused with those of the epoch before.
local function begin_epoch(fresh, run)
  redis.call('DEL', KEYS[1], KEYS[3], KEYS[4], KEYS[5], KEYS[6], KEYS[7])
  redis.call('HSET', KEYS[2], 'epoch', fresh, 'run', run, 'offset', 0, 'bytes', 0, 'floor', 0, 'first', 1, 'count', 0,
    'kept', 0, 'state', 0, 'pushed', 0, 'keyed', 0, 'ended', 0)
end

-- The highest offset up to the head that the stream has no entry for, or a higher one.
local function last_hole(head)
  local start, next = '+', head
  while next > head - 2000 do
    local some = redis.call('XREVRANGE', KEYS[1], start, '-', 'COUNT', 100)
    for _, found in ipairs(some) do
      if tonumber(string.match(found[1], '^%d+')) < next then
        return next
      end
      start, next = '(' .. found[1], next - 1
    end
    if #some < 100 then
      return next
    end
  end
  return next
end

-- The log's metadata. Begins a new epoch where the log may have lost entries: it has no metadata, or its stream is
-- gone, or a node has seen more entries than it has, or another run of the server wrote it (a restart, or the
-- promotion of a replica with entries missing, whose offsets would otherwise be assigned a second time). The server's
-- id is read here, since a failover may have moved the client to another server since its last command.
--   epoch, run, offset (the head); first, count, bytes (of the window); kept (entries of the stream);
--   floor (see trimmed.lua), pushed (the same of items); state (bytes of the items), keyed (1 once there was a keyed event),
--   ended (the last end of an item that was trimmed)
local log_of
function log_of(fresh, trust, seen_epoch, seen_offset)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local names = {'epoch', 'run', 'offset', 'bytes', 'floor', 'first', 'count', 'kept', 'state', 'pushed', 'keyed', 'ended'}
  local known = redis.call('HMGET', KEYS[2], unpack(names))
  local epoch, offset = known[1], tonumber(known[3] or 0)
  local lost = (offset > 0 and tonumber(known[8] or 1) > 0 and redis.call('EXISTS', KEYS[1]) == 0)
    or (epoch == seen_epoch and seen_offset > offset)
  if not epoch or lost or (known[2] ~= run and trust ~= '1') then
    begin_epoch(fresh, run)
    known = {fresh, run, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}
  end
  local log = {}
  for i, name in ipairs(names) do
    log[name] = i > 2 and tonumber(known[i] or 0) or known[i]
  end
  local length = redis.pcall('XLEN', KEYS[1])
  if type(length) == 'table' then
    -- Another program has put another value there.
    begin_epoch(fresh, run)
    return log_of(fresh, trust, '', 0)
  end
  if log.kept ~= length then
    -- An older version wrote to it, or another program has trimmed it: the lost entries are unknown.
    local first = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
    log.first = math.max(log.first, first and tonumber(string.match(first[1], '^%d+')) or log.offset + 1)
    log.kept = length
    log.count = length
    if redis.call('ZCARD', KEYS[4]) > 0 then
      log.count = length - redis.call('ZCOUNT', KEYS[4], '-inf', '(' .. log.first)
    end
    log.floor = math.max(log.floor, known[8] and last_hole(log.offset) or log.first - 1)
    log.ended = math.max(log.ended, log.floor)
    redis.call('HSET', KEYS[2], 'first', log.first, 'count', log.count, 'kept', log.kept, 'floor', log.floor,
      'ended', log.ended)
  end
  return log
end

