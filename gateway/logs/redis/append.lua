-- Appends an event to a tenant's log: one atomic step for the epoch check, the idempotency key, the append, the item,
-- the trimming and the notification.
-- KEYS: those of fence.lua, key (string)
-- ARGV: fresh epoch, event, fingerprint ('' without a key), seconds a key lives, max events, max bytes, max seconds,
--       channel, '1' to trust the data of a restarted server, seconds until an idle log is forgotten, rooms of which the
--       last lost entry is remembered, max items, max bytes of items, max bytes of an item
local log = log_of(ARGV[1], ARGV[9], '', 0)

if ARGV[3] ~= '' then
  local used = redis.call('GET', KEYS[8])
  if used then
    local at_epoch, at_offset, fingerprint, at = string.match(used, '^(%w+):(%d+):(%w+):([%d.]+)$')
    -- The event of an earlier epoch's key is gone: it is appended like a new one.
    if at_epoch == log.epoch then
      if fingerprint ~= ARGV[3] then
        return {'conflict', '', 0, '', 0}
      end
      return {'duplicate', at_epoch, tonumber(at_offset), at, 0}
    end
  end
end

local time = redis.call('TIME')
local at = time[1] .. '.' .. string.format('%06d', time[2])
local entry = at .. '\n' .. ARGV[2]
local _, op, id = parse(entry)
local before, live, count, size
if id then
  -- Called before the append, so that missing permissions (ACL) fail the whole script.
  redis.call('ZRANGE', KEYS[5], 0, 0)
  redis.call('ZREM', KEYS[5], '')
  redis.call('HSTRLEN', KEYS[6], '')
  live = redis.call('ZSCORE', KEYS[4], id)
  local offset = live or redis.call('ZSCORE', KEYS[5], id)
  before = offset and entry_at(offset)
  live = live and before
  if op == 'append' and live then
    local old = select(2, pieces_of(id)) or #before[2][2]
    count, size = room_for(id, before[2][2], data_of(entry), tonumber(ARGV[14]))
    if not count then
      redis.call('HSET', KEYS[2], 'state', log.state - old + select(2, pieces_of(id)))
      return {'too large', '', 0, '', 0}
    end
    log.state = log.state - old
  elseif live then
    log.state = log.state - (select(2, pieces_of(id)) or #before[2][2])
  end
end

local added = redis.pcall('XADD', KEYS[1], (log.offset + 1) .. '-0', 'e', entry)
if type(added) == 'table' and added.err then
  if not (string.find(added.err, 'equal or smaller') or string.find(added.err, 'WRONGTYPE')) then
    return added
  end
  -- Another program has written to the stream: begin a new epoch.
  begin_epoch(ARGV[1], log.run)
  log = log_of(ARGV[1], ARGV[9], '', 0)
  before, live, count = nil, nil, nil
  redis.call('XADD', KEYS[1], '1-0', 'e', entry)
end
log.offset, log.kept = log.offset + 1, log.kept + 1
log.count, log.bytes = log.count + 1, log.bytes + #entry

local lost, pushed = {}, {}
if id then
  log.keyed = 1
  if before then
    if offset_of(before) >= log.first then
      log.count, log.bytes = log.count - 1, log.bytes - #before[2][2]
      if not live and select(2, parse(before[2][2])) == 'append' then
        drop_whole(log, offset_of(before))
      end
    end
    remove(log, nil, before)
  end
  if count then
    redis.call('HSET', KEYS[6], id .. '\n' .. count, data_of(entry), id .. '\n', count .. ' ' .. size)
  elseif live then
    local pieces = pieces_of(id)
    if pieces then
      drop_pieces(id, pieces)
    end
  end
  if op == 'delete' then
    redis.call('ZREM', KEYS[4], id)
    redis.call('ZADD', KEYS[5], log.offset, id)
  else
    redis.call('ZREM', KEYS[5], id)
    redis.call('ZADD', KEYS[4], log.offset, id)
    log.state = log.state + (count and size or #entry)
  end
  evict(log, lost, pushed, tonumber(ARGV[12]), tonumber(ARGV[13]))
end
trim(log, lost, tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(time[1]) - tonumber(ARGV[7]), 32)
store(log, lost, pushed, tonumber(ARGV[11]), ARGV[10])
if ARGV[3] ~= '' then
  redis.call('SET', KEYS[8], log.epoch .. ':' .. log.offset .. ':' .. ARGV[3] .. ':' .. at, 'EX', ARGV[4])
end
local oldest = id and oldest_item(log) or 0
redis.call('PUBLISH', ARGV[8], log.epoch .. '\n' .. log.offset .. ':' .. oldest .. '\n' .. entry)
return {'appended', log.epoch, log.offset, at, oldest}
