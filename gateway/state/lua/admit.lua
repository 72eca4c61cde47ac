-- Charge one request against all limits of a route, or against none. One call per request.
--
-- KEYS  one per rate limit (a string: the theoretical arrival time), then one more if the route has a
--       concurrency limit (a sorted set: lease -> when it lapses). All share the identity's hash tag.
-- ARGV  [1] number of rate limits
--       [2] time in seconds, or "" for this server's clock (a time is given by tests alone)
--       [3] most leases at once, or "" without a concurrency limit
--       [4] seconds until a lease lapses     [5] name of the lease
--       then per rate limit: interval, tolerance (seconds)
-- Returns 1 if granted, else { "rate" or "concurrency", leases held, debt of each rate limit }.
--
-- The arithmetic is that of gateway.core.limits.charge, operation by operation.

local GRAIN = 1e-6                -- gateway.state.verdict.GRAIN
local EPOCH = 1700000000          -- keeps numbers small, so that doubles resolve 15 ns

local rates = tonumber(ARGV[1])
local now = tonumber(ARGV[2])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) - EPOCH + tonumber(time[2]) / 1000000
end

local stored, charged = {}, {}
local is_early = false
for i = 1, rates do
  local interval, tolerance = tonumber(ARGV[4 + 2 * i]), tonumber(ARGV[5 + 2 * i])
  local arrival = 0
  local value = redis.call('GET', KEYS[i])
  if value then
    arrival = tonumber(value)
    if not arrival or arrival ~= arrival then
      return redis.error_reply('ERR not an arrival time')
    end
    -- a clock that went back, or a limit that was made smaller, must not lock anybody out for long;
    -- written at once, or it would move along with the time of every refused claim
    local latest = now + tolerance + interval
    if arrival > latest then
      arrival = latest
      local life = string.format('%d', math.ceil((tolerance + interval) * 1000) + 1)
      redis.call('SET', KEYS[i], string.format('%.17g', arrival), 'PX', life)
    end
  end
  stored[i] = arrival
  arrival = math.max(arrival, now) + interval
  charged[i] = arrival
  if arrival - tolerance - now > GRAIN then
    is_early = true
  end
end

local running = 0
local most = tonumber(ARGV[3])
local leases = KEYS[rates + 1]
if most then
  redis.call('ZREMRANGEBYSCORE', leases, '-inf', string.format('%.17g', now))
  running = redis.call('ZCARD', leases)
end

if is_early or (most and running >= most) then
  local answer = { is_early and 'rate' or 'concurrency', running }
  for i = 1, rates do
    answer[2 + i] = string.format('%.17g', math.max(stored[i] - now, 0))
  end
  return answer
end

for i = 1, rates do
  local life = math.ceil((charged[i] - now) * 1000) + 1
  redis.call('SET', KEYS[i], string.format('%.17g', charged[i]), 'PX', string.format('%d', life))
end
if most then
  local lifetime = tonumber(ARGV[4])
  redis.call('ZADD', leases, string.format('%.17g', now + lifetime), ARGV[5])
  redis.call('PEXPIRE', leases, string.format('%d', math.ceil(lifetime * 1000)))
end
return 1
