-- What of a tenant's log comes after a place, a page of it, and where the log stands.
-- KEYS: log (stream), meta (hash)
-- ARGV: fresh epoch, epoch and offset of the place, bytes after which the page ends, '1' to trust what a restarted
--       server has, seconds until an idle log is forgotten
local fence = fence_of(KEYS[1], KEYS[2], ARGV[1], ARGV[5], ARGV[2], tonumber(ARGV[3]))
local epoch, head = fence[1], fence[2]
local start = '-'
if ARGV[2] == epoch then
  start = (tonumber(ARGV[3]) + 1) .. '-0'
end
redis.call('EXPIRE', KEYS[1], ARGV[6])
redis.call('EXPIRE', KEYS[2], ARGV[6])
local page, size = {}, 0
repeat
  local some = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', 16)
  for _, entry in ipairs(some) do
    page[#page + 1] = entry
    size = size + #entry[2][2]
    start = '(' .. entry[1]
  end
until #some < 16 or size >= tonumber(ARGV[4])
return {epoch, head, page}
