-- What of a tenant's log comes after a place, and where the log stands.
-- KEYS: log (stream), meta (hash)
-- ARGV: fresh epoch, epoch and offset of the place, entries at most, '1' to trust what a restarted server has,
--       seconds until an idle log is forgotten
local fence = fence_of(KEYS[1], KEYS[2], ARGV[1], ARGV[5])
local epoch, head = fence[1], fence[2]
local start = '-'
if ARGV[2] == epoch then
  start = (tonumber(ARGV[3]) + 1) .. '-0'
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[6])
return {epoch, head, redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', ARGV[4])}
