-- Tell how one limit per identity of admit.lua stands, and take off what was used of it: for operators alone.
--
-- It goes when requests per identity are budgets: forgive.lua is then enough.
--
-- KEYS[1]  as admit.lua writes it: the arrival time of a rate limit (a string), or leases (a sorted set)
-- ARGV     [1] time in seconds, or "" for this server's clock (a time is given by tests alone)
--          [2] "rate" or "level"      [3] quota: the burst, or how many at once
--          [4] seconds per request, 0 for a level      [5] requests to take off at most; 0 changes nothing
-- Returns { taken off, used (after that), held, seconds until nothing counts as used, 0 }, as forgive.lua.

local GRAIN = 1e-6                -- gateway.core.budgets.GRAIN
local EPOCH = 1700000000          -- as in admit.lua

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) - EPOCH + tonumber(time[2]) / 1000000
end
local quota, interval, most = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

if ARGV[2] == 'level' then
  redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', string.format('%.17g', now))
  return { '0', '0', tostring(redis.call('ZCARD', KEYS[1])), '0', 0 }
end

local value = redis.call('GET', KEYS[1])
if not value then
  return { '0', '0', '0', '0', 0 }
end
local arrival = tonumber(value)
if not arrival or arrival ~= arrival then
  return redis.error_reply('ERR not an arrival time')
end
local period = quota * interval
arrival = math.min(arrival, now + period + interval)
local used = math.max(0, quota - math.floor((period - math.max(arrival - now, 0) + GRAIN) / interval))
local taken = math.min(used, most)
if taken > 0 then
  used = used - taken
  arrival = arrival - taken * interval
  redis.call('SET', KEYS[1], string.format('%.17g', arrival), 'KEEPTTL')
end
return { string.format('%.17g', taken), string.format('%.17g', used), '0',
  string.format('%.17g', used > 0 and math.max(arrival - now, 0) or 0), 0 }
