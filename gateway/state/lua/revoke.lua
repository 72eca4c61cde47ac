-- Write changes of the revocations down for the whole fleet: all of them, once.
--
-- KEYS  [1] what is known (a hash: "a:" or "l:" and an id -> a sealed revocation or lift)
--       [2] what happened (a stream, trimmed: each entry is one call of this script)
--       [3] the mark of the last call (a string)
-- ARGV  [1] the mark of this call     [2] about how many calls the stream keeps
--       then per change: its field in the hash, and the change, sealed
-- Returns the mark of the call before, or "".
--
-- This server reads nothing of it and decides nothing: whoever reads opens the seals. A mark names the one
-- before it, so that a reader sees whether it missed a call. Nothing is removed here, by a lift neither:
-- what has ended is removed by those who know.

local before = redis.call('GET', KEYS[3]) or ''
local entry = { 'm', ARGV[1], 'b', before }
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  entry[#entry + 1] = 'c'
  entry[#entry + 1] = ARGV[i + 1]
end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*', unpack(entry))
redis.call('SET', KEYS[3], ARGV[1])
return before
