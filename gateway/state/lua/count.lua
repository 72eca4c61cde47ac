-- Add what one gateway process counted for one identity, and return what the whole fleet counted.
--
-- KEYS[1]  the identity's tally: one packed string (see FORMAT)
-- ARGV     [1] time in seconds, or "" for this server's clock (a time is given by tests alone)
--          [2] half-life in seconds
--          [3] eight little-endian doubles to add
--          [4] bits to set in the sketch of models    [5] bits to set in the sketch of prompts
-- Returns the eight sums, then both halves of both sketches, packed.
--
-- The arithmetic is that of gateway.state.counters: a counter halves per half-life, sketches alternate.

local FORMAT = '<dddddddddd'      -- time, window, then the eight counters; sketches follow
local COUNTERS = '<dddddddd'
local HEAD = 80                   -- bytes of FORMAT

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local half_life = tonumber(ARGV[2])
local window = math.floor(now / half_life)
local models, prompts = ARGV[4], ARGV[5]

local function union(a, b)
  local words = {}
  for i = 1, #a, 4 do
    words[#words + 1] = struct.pack('<i4', bit.bor(struct.unpack('<i4', a, i), (struct.unpack('<i4', b, i))))
  end
  return table.concat(words)
end

local sums = { struct.unpack(COUNTERS, ARGV[3]) }
local blank_models, blank_prompts = string.rep('\0', #models), string.rep('\0', #prompts)
local old_models, old_prompts = blank_models, blank_prompts

local value = redis.call('GET', KEYS[1])
if value and #value == HEAD + 2 * #models + 2 * #prompts then
  local stored = { struct.unpack(FORMAT, value) }
  local factor = 0.5 ^ (math.max(now - stored[1], 0) / half_life)
  for i = 1, 8 do
    sums[i] = sums[i] + stored[2 + i] * factor
  end
  local at = HEAD + 1
  local function take(length)
    at = at + length
    return string.sub(value, at - length, at - 1)
  end
  local m1, m2 = take(#models), take(#models)
  local p1, p2 = take(#prompts), take(#prompts)
  if window <= stored[2] then
    models, prompts = union(models, m1), union(prompts, p1)
    old_models, old_prompts = m2, p2
    window = stored[2]
  elseif window == stored[2] + 1 then
    old_models, old_prompts = m1, p1
  end
end

local tail = struct.pack(COUNTERS, unpack(sums, 1, 8)) .. models .. old_models .. prompts .. old_prompts
local life = string.format('%d', math.ceil(half_life * 8000))
redis.call('SET', KEYS[1], struct.pack('<dd', now, window) .. tail, 'PX', life)
return tail
