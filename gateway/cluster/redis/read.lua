-- The control messages after a position, a page of them as one text: a reply element for each would take a client ten
-- times as long to parse. From the beginning where the position is of another stream.
-- KEYS: messages (stream), identity (string)
-- ARGV: position, identity of its stream ('' for none), messages a page
-- Returns the identity ('' where messages are lost), milliseconds of the clock of Redis, messages in the stream, whether
-- the page is the last one, the position after it, the page: a line of id, space and message each.
local identity = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') .. (redis.call('GET', KEYS[2]) or '')
local time = redis.call('TIME')
local start = '(' .. ARGV[1]
if identity ~= ARGV[2] then
  start = '-'
end
local entries = redis.call('XRANGE', KEYS[1], start, '+', 'COUNT', ARGV[3])
if start ~= '-' and #entries == 0 and ARGV[1] ~= '0-0' and #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then
  identity = ''
end
local lines = {}
for i, entry in ipairs(entries) do
  lines[i] = entry[1] .. ' ' .. entry[2][2]
end
return {
  identity,
  time[1] .. string.format('%03d', math.floor(time[2] / 1000)),
  redis.call('XLEN', KEYS[1]),
  #entries < tonumber(ARGV[3]) and 1 or 0,
  #entries > 0 and entries[#entries][1] or ARGV[1],
  table.concat(lines, '\n'),
}
