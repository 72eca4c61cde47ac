-- Draw a share of one budget for one gateway process, report what it spent, and take back what it gives.
--
-- KEYS[1]  the account, one string: "<window or arrival> <used>", then a line "<lease> <drawn> <spent> <lapses>"
--          per process that holds something. A process spends its share without asking; what it has drawn
--          and not spent is held.
-- ARGV     [1] time in seconds, or "" for this server's clock (a time is given by tests alone)
--          [2] "rolling", "calendar" or "level"      [3] quota
--          [4] [5] rolling: period and seconds per unit     calendar: start and end of the caller's window
--          [6] calendar: end of the next window
--          [7] name of the lease     [8] seconds until it lapses
--          [9] spent, as far as the server confirmed it     [10] spent in all
--          [11] seconds since the last use     [12] units set aside for requests that run
--          [13] units given back     [14] units that a request needs now, 0 for a report
--          [15] units wanted beside them
-- Returns { granted (1 or 0), drawn in all, room there was, used, seconds until the quota is whole }.
--
-- The arithmetic is that of gateway.core.budgets and gateway.state.memory_budgets.

local GRAIN = 1e-6                -- gateway.core.budgets.GRAIN
local SHARE = 4                   -- of the room left, each process may draw this part beyond its need
local MARGIN = 3600               -- seconds by which clocks may differ; an account outlives its window by them

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local kind, quota = ARGV[2], tonumber(ARGV[3])
local a, b, c = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6])
local me, ttl = ARGV[7], tonumber(ARGV[8])
local confirmed, spent, age = tonumber(ARGV[9]), tonumber(ARGV[10]), tonumber(ARGV[11])
local running, back = tonumber(ARGV[12]), tonumber(ARGV[13])
local need, want = tonumber(ARGV[14]), tonumber(ARGV[15])

local mark, used = 0, 0
local drawn, known
local held, holders = 0, 1
local others = {}
local latest = now + ttl
local value = redis.call('GET', KEYS[1])
if value then
  local first = true
  for line in string.gmatch(value, '[^\n]+') do
    if first then
      first = false
      local x, y = string.match(line, '^(%S+) (%S+)$')
      mark, used = tonumber(x), tonumber(y)
      if not mark or not used or mark ~= mark or used ~= used then
        return redis.error_reply('ERR not an account')
      end
    else
      local name, d, s, lapses = string.match(line, '^(%S+) (%S+) (%S+) (%S+)$')
      d, s, lapses = tonumber(d), tonumber(s), tonumber(lapses)
      if not d or not s or not lapses then
        return redis.error_reply('ERR not an account')
      end
      if lapses > now then        -- what a process held that is gone comes back here
        if name == me then
          drawn, known = d, s
        else
          others[#others + 1] = line
          held = held + math.max(d - s, 0)
          if d > s then
            holders = holders + 1
          end
          latest = math.max(latest, lapses)
        end
      end
    end
  end
end
if not drawn then
  drawn, known = confirmed, confirmed
end

-- what was spent since the last report, charged at the time of its last use: never too early
local charge = math.max(spent - known, 0)
if kind == 'calendar' then
  local finish = b
  if now < a then                 -- the caller's clock is ahead
    finish = a
  elseif now >= b then            -- it is behind
    finish = c
  end
  if now >= c or now < a - MARGIN then
    return redis.error_reply('ERR not this window')
  end
  if finish > mark then
    mark, used = finish, 0
  end
  used = used + charge
elseif kind == 'rolling' then
  mark = math.min(mark, now + 2 * a)
  if charge > 0 then
    mark = math.min(math.max(mark, now - age) + charge * b, now + 2 * a)
  end
  used = math.max(0, quota - math.floor((a - math.max(mark - now, 0) + GRAIN) / b))
end
spent = math.max(spent, known)
drawn = math.max(drawn - back, spent + running)

local room = quota - used - held - (drawn - spent)
local granted = 0
if need <= room then
  granted = 1
  local more = math.max(0, math.min(want, math.floor((room - need) / (SHARE * holders))))
  drawn = drawn + need + more
end

others[#others + 1] = string.format('%s %.17g %.17g %.17g', me, drawn, spent, now + ttl)
local life = latest - now
if kind == 'calendar' then
  life = math.max(life, mark - now + MARGIN)
elseif kind == 'rolling' then
  life = math.max(life, mark - now)
end
redis.call('SET', KEYS[1], string.format('%.17g %.17g\n', mark, kind == 'calendar' and used or 0)
  .. table.concat(others, '\n'), 'PX', string.format('%d', math.ceil(life * 1000) + 1))
local reset = kind == 'level' and 0 or math.max(mark - now, 0)
return { granted, string.format('%.17g', drawn), string.format('%.17g', room), string.format('%.17g', used),
  string.format('%.17g', reset) }
