-- One exchange of limits that several gateways share, as one atomic step.
-- `Pool` in lending.py is the same in Python and says why; both are held to the same tests.
--
-- KEYS     the epoch; a hash for each cap (a field for each process: "allowed used spent heard_ms");
--          a string for each rate (when its bucket is full, and when that was said, in microseconds)
-- ARGV[1]  JSON: writer, the constants of lending.py, caps and rates in the order of KEYS
-- Returns  {epoch, lends, {{allowed, spent elsewhere, idle elsewhere, contended}, …}, {{granted, lacking µs}, …}}
-- Its clock may jump. Budgets do not look at it; of what does, nothing may be stuck in a time that will not come.
-- Amounts are exact up to 2^53: nine million dollars.

local ask = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])
local now_ms = math.floor(now_us / 1000)

local function text(number) return string.format('%.0f', number) end

local epoch = redis.call('GET', KEYS[1])
if not epoch then
  epoch = text(now_us)
  redis.call('SET', KEYS[1], epoch)
end
local since_epoch_us = now_us - tonumber(epoch)
local lends = since_epoch_us >= ask.settling_ms * 1000 or since_epoch_us < 0

local function part(allowed, used, spent) return table.concat({text(allowed), text(used), text(spent), text(now_ms)}, ' ') end

local function lend(key, wish)
  local parts, hungry_until_ms = {}, 0
  local stored = redis.call('HGETALL', key)
  for i = 1, #stored, 2 do
    if stored[i] == 'hungry' then
      hungry_until_ms = tonumber(stored[i + 1])
    else
      parts[stored[i]] = stored[i + 1]
    end
  end
  for _, known in ipairs(wish.known) do
    local name = 'process ' .. known.writer
    if known.writer ~= ask.writer and (known.final or not parts[name]) then
      parts[name] = part(known.spent, known.spent, known.spent)
      redis.call('HSET', key, name, parts[name])
    end
  end
  local own, allowed, used, spent = 'process ' .. ask.writer, 0, 0, 0
  for name, stored_part in pairs(parts) do
    if name ~= own then
      local its_allowed, its_used, its_spent, heard_ms = stored_part:match('(%S+) (%S+) (%S+) (%S+)')
      if wish.kept_s == 0 and math.abs(now_ms - tonumber(heard_ms)) > ask.silent_ms then
        redis.call('HDEL', key, name)
      else
        allowed, used, spent = allowed + tonumber(its_allowed), used + tonumber(its_used), spent + tonumber(its_spent)
      end
    end
  end
  local more = 0
  if lends then
    local free = wish.limit - allowed - wish.used
    more = math.max(0, math.min(wish.need, free))
    if more < wish.least then
      more = 0
    else
      more = more + math.max(0, math.min(wish.want - wish.need, math.floor((free - wish.need) / ask.eager_part)))
    end
  end
  if more < wish.need then
    hungry_until_ms = now_ms + ask.hungry_ms
    redis.call('HSET', key, 'hungry', text(hungry_until_ms))
  end
  redis.call('HSET', key, own, part(wish.used + more, wish.used, wish.spent))
  redis.call('PEXPIRE', key, text(wish.kept_s == 0 and ask.kept_ms or wish.kept_s * 1000))
  local hungry_ms = hungry_until_ms - now_ms
  return {wish.used + more, spent, allowed - used, hungry_ms > 0 and hungry_ms <= ask.hungry_ms and 1 or 0}
end

local function take(key, wish)
  local interval_us = ask.minute_us / (wish.per_minute == 0 and ask.never or wish.per_minute)
  local stored_full_us, said_us = (redis.call('GET', key) or '0 0'):match('(%S+) (%S+)')
  local set_back_us = math.max(0, tonumber(said_us) - now_us)
  local full_at_us = math.max(now_us, tonumber(stored_full_us) - set_back_us) + wish.owed * interval_us
  local free = math.floor((ask.minute_us - math.max(0, full_at_us - now_us)) / interval_us + ask.rounding)
  local granted = math.max(0, math.min(wish.want, free))
  full_at_us = full_at_us + granted * interval_us
  local lacking_us = math.max(0, full_at_us - now_us)
  redis.call('SET', key, text(full_at_us) .. ' ' .. text(now_us), 'PX', text(math.max(1, math.ceil(lacking_us / 1000))))
  return {granted, lacking_us}
end

local caps, rates = {}, {}
for i, wish in ipairs(ask.caps) do caps[i] = lend(KEYS[1 + i], wish) end
for i, wish in ipairs(ask.rates) do rates[i] = take(KEYS[1 + #ask.caps + i], wish) end
return {epoch, lends and 1 or 0, caps, rates}
