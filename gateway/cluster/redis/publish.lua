-- Appends control messages to the stream, and trims expired ones by the clock of Redis, which holds for all nodes.
-- KEYS: messages (stream), identity (string)
-- ARGV: seconds for which messages are kept, a fresh identity, message...
local time = redis.call('TIME')
redis.call('SET', KEYS[2], ARGV[2], 'NX')
local ids = {}
for i = 3, #ARGV do
  ids[i - 2] = redis.call('XADD', KEYS[1], '*', 'm', ARGV[i])
end
redis.call('XTRIM', KEYS[1], 'MINID', '~', math.max(0, time[1] - ARGV[1]) .. '000')
return ids
