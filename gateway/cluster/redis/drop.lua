-- Compaction: deletes obsolete messages, unless this is another stream than the one that they were read from.
-- KEYS: messages (stream), identity (string)
-- ARGV: identity, id...
local identity = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. (redis.call('GET', KEYS[2]) or '')
if identity == ARGV[1] then
  redis.call('XDEL', KEYS[1], unpack(ARGV, 2))
end
