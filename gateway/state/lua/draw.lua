-- Draw shares of limits for one gateway process, of all that one request needs or of none; report what it
-- spent of them, and take back what it gives.
--
-- KEYS     accounts under one hash tag, each one string: "<mark> <used> [<forgiven>]", then a line "<lease> <drawn> <spent>
--          <idle> <lapses>" per process that holds something. A process spends its share without asking; what
--          it has drawn and not spent is held. The mark is the arrival time of a rolling limit, the end of a
--          calendar window, or when somebody was last refused a level. Where an operator forgave what was used of
--          a rolling limit, until <forgiven> a process' own arrival time says too much: it counts from now on.
-- ARGV     [1] time in seconds, or "" for this server's clock (a time is given by tests alone)
--          [2] seconds until a lease lapses
--          then per key one line of words: "rolling", "calendar" or "level"; quota;
--            rolling: period, seconds per unit, most seconds of arrival ahead
--            calendar: start and end of the caller's window, end of the next
--            name of the lease; spent, as far as the server confirmed it; spent in all; seconds from now to the
--            arrival time that this process' own uses alone make; units set aside for requests that run; units
--            given back; units that a request needs now, 0 for a report; units wanted beside them
-- Returns  { 1 if all needs were met, else 0, then per key: drawn in all, room there was, used, units that other
--            processes hold idle, units that this one may keep idle, seconds until the quota is whole }.
--
-- The arithmetic is that of gateway.core.budgets and gateway.state.memory_budgets.

local GRAIN = 1e-6                -- gateway.core.budgets.GRAIN
local SHARE = 4                   -- of the room left, each process may draw this part beyond its need
local CALM = 2                    -- seconds after a refusal in which nobody keeps idle units of a level
local MARGIN = 3600               -- seconds by which clocks may differ; an account outlives its window by them
local WORDS = '^(%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+) (%S+)$'

local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local ttl = tonumber(ARGV[2])

-- Read what is stored, without the lines of leases that lapsed: what a process held that is gone comes back.
local function read(key, me)
  local it = { mark = 0, used = 0, held = 0, idle = 0, holders = 1, forgiven = 0, others = {}, latest = now + ttl }
  local value = redis.call('GET', key)
  if not value then
    return it
  end
  local is_first = true
  for line in string.gmatch(value, '[^\n]+') do
    if is_first then
      is_first = false
      local x, y, z = string.match(line, '^(%S+) (%S+) ?(%S*)$')
      it.mark, it.used, it.forgiven = tonumber(x), tonumber(y), tonumber(z) or 0
      if not it.mark or not it.used or it.mark ~= it.mark or it.used ~= it.used then
        return nil
      end
    else
      local name, d, s, f, lapses = string.match(line, '^(%S+) (%S+) (%S+) (%S+) (%S+)$')
      d, s, f, lapses = tonumber(d), tonumber(s), tonumber(f), tonumber(lapses)
      if not d or not s or not f or not lapses then
        return nil
      end
      if lapses > now then
        if name == me then
          it.drawn, it.known = d, s
        else
          it.others[#it.others + 1] = line
          it.held = it.held + math.max(d - s, 0)
          it.idle = it.idle + math.max(f, 0)
          if d > s then
            it.holders = it.holders + 1
          end
          it.latest = math.max(it.latest, lapses)
        end
      end
    end
  end
  return it
end

-- Charge what was spent since the last report, never earlier than it was; return false for a foreign window.
local function charge(it, units, a, b, c, lead)
  if it.kind == 'calendar' then
    local finish = b
    if now < a then               -- the caller's clock is ahead
      finish = a
    elseif now >= b then          -- it is behind
      finish = c
    end
    if now >= c or now < a - MARGIN then
      return false
    end
    if finish > it.mark then
      it.mark, it.used = finish, 0
    end
    it.used = it.used + units
  elseif it.kind == 'rolling' then
    it.mark = math.min(it.mark, now + c)
    if units > 0 then
      if it.forgiven > now then
        it.mark, lead = math.max(it.mark, now), 0
      end
      it.mark = math.min(math.max(it.mark + units * b, now + lead), now + c)
    end
    it.used = math.max(0, it.quota - math.floor((a - math.max(it.mark - now, 0) + GRAIN) / b))
  end
  return true
end

-- Bring one account up to date; return it, or why it cannot be used.
local function look(key, line)
  local kind, quota, a, b, c, me, confirmed, spent, lead, running, back, need, want = string.match(line, WORDS)
  local it = read(key, me)
  if not it then
    return nil, 'ERR not an account'
  end
  it.key, it.kind, it.me, it.quota = key, kind, me, tonumber(quota)
  it.need, it.want, it.running, spent = tonumber(need), tonumber(want), tonumber(running), tonumber(spent)
  local known = it.known or tonumber(confirmed)
  if not charge(it, math.max(spent - known, 0), tonumber(a), tonumber(b), tonumber(c), tonumber(lead)) then
    return nil, 'ERR not this window'
  end
  it.spent = math.max(spent, known)
  it.drawn = math.max((it.drawn or known) - tonumber(back), it.spent + it.running)
  it.room = it.quota - it.used - it.held - (it.drawn - it.spent)
  return it
end

-- Give what is needed and wanted; return what may be kept idle.
local function give(it, is_granted)
  if it.kind == 'level' and it.need > it.room then
    it.mark = now
  end
  local is_calm = it.kind ~= 'level' or now - it.mark >= CALM
  local part = SHARE * it.holders
  if is_granted then
    local more = is_calm and math.min(it.want, math.floor((it.room - it.need) / part)) or 0
    it.drawn = it.drawn + it.need + math.max(more, 0)
    it.running = it.running + it.need
  end
  if it.kind ~= 'level' or not is_calm then
    return 0
  end
  return math.max(0, math.floor((it.quota - it.held - it.running) / part))
end

local function write(it)
  local idle = math.max(it.drawn - it.spent - it.running, 0)
  local mine = string.format('%s %.17g %.17g %.17g %.17g', it.me, it.drawn, it.spent, idle, now + ttl)
  local life = it.latest - now
  if it.kind == 'calendar' then
    life = math.max(life, it.mark - now + MARGIN)
  elseif it.kind == 'rolling' then
    life = math.max(life, it.mark - now)
  end
  it.others[#it.others + 1] = mine
  local first = string.format('%.17g %.17g', it.mark, it.kind == 'calendar' and it.used or 0)
  if it.forgiven > now then
    first = string.format('%s %.17g', first, it.forgiven)
  end
  redis.call('SET', it.key, first .. '\n' .. table.concat(it.others, '\n'), 'PX', string.format('%d', math.ceil(life * 1000) + 1))
end

local accounts, is_granted = {}, true
for i = 1, #KEYS do
  local it, why = look(KEYS[i], ARGV[2 + i])
  if not it then
    return redis.error_reply(why)
  end
  accounts[i] = it
  is_granted = is_granted and (it.need == 0 or it.need <= it.room)
end
local answer = { is_granted and 1 or 0 }
for i, it in ipairs(accounts) do
  local keep = give(it, is_granted)
  write(it)
  local reset = it.kind == 'level' and 0 or math.max(it.mark - now, 0)
  local at = 6 * i
  answer[at - 4], answer[at - 3], answer[at - 2] = it.drawn, it.room, it.used
  answer[at - 1], answer[at], answer[at + 1] = it.idle, keep, string.format('%.17g', reset)
end
return answer
