-- Tell how one account of a budget stands, and take off what was used of it: for operators, never for a request.
--
-- KEYS[1]  the account, as draw.lua writes it; lines of processes are read and left as they are
-- ARGV     [1] time in seconds, or "" for this server's clock (a time is given by tests alone)
--          [2] "rolling", "calendar" or "level"      [3] quota
--          [4] [5] rolling: period and seconds per unit     calendar: start and end of the caller's window
--          [6] calendar: end of the next window
--          [7] name of the caller's lease     [8] units to take off at most; 0 changes nothing
-- Returns { taken off, used (after that), held, seconds until nothing counts as used, how many other
--           processes hold something: what they spent since their last report is not known here }.

local GRAIN = 1e-6                -- gateway.core.budgets.GRAIN
local MARGIN = 3600               -- as in draw.lua

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local kind, quota = ARGV[2], tonumber(ARGV[3])
local a, b, c = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local me, most = ARGV[7], tonumber(ARGV[8])

local value = redis.call('GET', KEYS[1])
if not value then
  return { '0', '0', '0', '0', 0 }
end
local first, lines = string.match(value, '^([^\n]*)\n?(.*)$')
local mark, used = string.match(first, '^(%S+) (%S+)$')
mark, used = tonumber(mark), tonumber(used)
if not mark or not used or mark ~= mark or used ~= used then
  return redis.error_reply('ERR not an account')
end
local held, others = 0, 0
for line in string.gmatch(lines, '[^\n]+') do
  local name, drawn, spent, lapses = string.match(line, '^(%S+) (%S+) (%S+) (%S+)$')
  drawn, spent, lapses = tonumber(drawn), tonumber(spent), tonumber(lapses)
  if not drawn or not spent or not lapses then
    return redis.error_reply('ERR not an account')
  end
  if lapses > now and drawn > spent then
    held = held + drawn - spent
    if name ~= me then
      others = others + 1
    end
  end
end

if kind == 'calendar' then
  if now >= c or now < a - MARGIN then
    return redis.error_reply('ERR not this window')
  end
  local finish = b
  if now < a then                 -- the caller's clock is ahead
    finish = a
  elseif now >= b then            -- it is behind
    finish = c
  end
  if finish > mark then           -- that window is over
    used = 0
  end
elseif kind == 'rolling' then
  mark = math.min(mark, now + 2 * a)
  used = math.max(0, quota - math.floor((a - math.max(mark - now, 0) + GRAIN) / b))
else
  used = 0
end

local taken = math.min(used, most)
if taken > 0 then
  used = used - taken
  if kind == 'rolling' then
    mark = mark - taken * b
  end
  redis.call('SET', KEYS[1], string.format('%.17g %.17g\n', mark, kind == 'calendar' and used or 0) .. lines,
    'KEEPTTL')
end
return { string.format('%.17g', taken), string.format('%.17g', used), string.format('%.17g', held),
  string.format('%.17g', used > 0 and math.max(mark - now, 0) or 0), others }
