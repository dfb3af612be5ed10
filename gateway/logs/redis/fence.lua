-- Begins a new epoch: offsets count from 1 again, and cannot be confused with those of the epoch before.
local function begin_anew(log, meta, trimmed, fresh, run)
  redis.call('DEL', log, trimmed)
  redis.call('HSET', meta, 'epoch', fresh, 'run', run, 'offset', 0, 'bytes', 0, 'floor', 0)
  return {fresh, 0, 0, run, 0}
end

-- The log's epoch, head, bytes, run and floor (see trimmed.lua). A new epoch where the log may have lost entries: it is
-- not known, or its stream is gone, or somebody has seen more of it than is here, or another life of the server wrote
-- it (a restart, or a replica that was promoted with entries missing, whose offsets would otherwise be given out a
-- second time). The server's id is read in here: a client may have been handed over to another server since it last
-- looked.
local function fence_of(log, meta, trimmed, fresh, trust, seen_epoch, seen_offset)
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
  local known = redis.call('HMGET', meta, 'epoch', 'run', 'offset', 'bytes', 'floor')
  local epoch, offset, bytes = known[1], tonumber(known[3] or 0), tonumber(known[4] or 0)
  local lost = (offset > 0 and redis.call('EXISTS', log) == 0) or (epoch == seen_epoch and seen_offset > offset)
  if epoch and not lost and (known[2] == run or trust == '1') then
    return {epoch, offset, bytes, run, tonumber(known[5] or 0)}
  end
  return begin_anew(log, meta, trimmed, fresh, run)
end

