/**
 * What collectors tell each other of event ids by way of Redis:
 *
 *     penstock:ids:<tenant>:<workspace>:<slot>   a hash from ids, 16 bytes as in `native/uuid.ts`, to what is known of them:
 *                                                `p`, a time, and a collector: it is being committed there, until then at most
 *                                                `d` and a time: it is durable, and remembered until then
 *     penstock:id-slots                          a sorted set of the names of these hashes, by the time from which on none of it counts
 *     penstock:id-claims:<collector>             a hash of the claims that are not settled: a field for each, `<start>-<number>`,
 *                                                with `<tenant>:<workspace>:` and the ids of its events
 *
 * Times are milliseconds since 1970, by the clock of Redis. A slot is half a window, or half of what a claim lasts where that is longer. What
 * is said is put into the hash of this slot, and looked for in those of two slots back and of the next one, for a clock that was set back.
 * So an id needs neither a key nor a command of its own, which would take most of the time and the memory. When a hash is begun, those in
 * which nothing counts any more are unlinked, which Redis does beside other things; a large hash that expires holds it up, which happens
 * only when no event comes for half a slot.
 */
import { UUID_BYTES } from '../native/uuid.ts'

/** After so long a claim ends by itself: its collector died and did not come back, or cannot reach Redis. No commit takes so long. */
export const CLAIM_MS = 60_000
/** Claims of a collector that never comes back are forgotten, too. */
const LEFT_CLAIMS_MS = 7 * 24 * 3_600_000

/** Ids in one script, which Redis does in about a millisecond. Lua passes at most 7,999 values to a command. */
export const LOT_IDS_MAX = 1_000

const DIGITS_OF_TIME = 13

/** Redis keeps hashes of few short values as lists, which are read from their beginning for each field: one longer value makes it a table. */
const PAD = ' '.repeat(65)

/** What all scripts begin with. `ARGV[1]`: milliseconds of a slot. */
const SLOTS = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local slotMs = tonumber(ARGV[1])
local slot = math.floor(now / slotMs)

local there = {}
local function exists(key)
  if there[key] == nil then there[key] = redis.call('EXISTS', key) == 1 end
  return there[key]
end

local function ids(blob, first, count)
  local list = {}
  for at = 1, count do
    local byte = (first + at - 1) * ${UUID_BYTES}
    list[at] = string.sub(blob, byte + 1, byte + ${UUID_BYTES})
  end
  return list
end

local function look(workspace, list)
  local hashes = {}
  if #list == 0 then return hashes end
  for number = slot - 2, slot + 1 do
    local key = KEYS[1] .. workspace .. number
    if exists(key) then hashes[#hashes + 1] = { key = key, values = redis.call('HMGET', key, unpack(list)) } end
  end
  return hashes
end

local function say(workspace, pairs)
  if #pairs == 0 then return end
  local key = KEYS[1] .. workspace .. slot
  local isNew = not exists(key)
  redis.call('HSET', key, unpack(pairs))
  if not isNew then return end
  there[key] = true
  redis.call('HSET', key, '', '${PAD}')
  redis.call('PEXPIREAT', key, math.ceil((slot + 3.5) * slotMs))
  redis.call('ZADD', KEYS[3], (slot + 3) * slotMs, key)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 100)) do
    redis.call('UNLINK', old)
    redis.call('ZREM', KEYS[3], old)
  end
end

local function forget(fields, first)
  for at = first, #fields, 1000 do
    redis.call('HDEL', KEYS[2], unpack(fields, at, math.min(at + 999, #fields)))
  end
end
`

/** `ARGV`: slot, collector, ids, then of each request its workspace, the number of its ids, and its field. Gives a letter for each id. */
export const CLAIM = `${SLOTS}
local mine, blob = 'p' .. string.format('%.0f', now + ${CLAIM_MS}) .. ARGV[2], ARGV[3]
local verdicts, claims = {}, {}
local first = 0
for request = 4, #ARGV, 3 do
  local workspace, count = ARGV[request], tonumber(ARGV[request + 1])
  local list = ids(blob, first, count)
  local hashes = look(workspace, list)
  local claimed = {}
  for at = 1, count do
    local verdict = 'c'
    for _, hash in ipairs(hashes) do
      local value = hash.values[at]
      if value and tonumber(string.sub(value, 2, ${1 + DIGITS_OF_TIME})) > now then
        if string.sub(value, 1, 1) == 'd' then
          verdict = 'd'
        elseif verdict == 'c' and string.sub(value, ${2 + DIGITS_OF_TIME}) ~= ARGV[2] then
          verdict = 'p'
        end
      end
    end
    if verdict == 'c' then
      claimed[#claimed + 1] = list[at]
      claimed[#claimed + 1] = mine
    end
    verdicts[#verdicts + 1] = verdict
  end
  if #claimed > 0 then
    say(workspace, claimed)
    claims[#claims + 1] = ARGV[request + 2]
    claims[#claims + 1] = workspace .. string.sub(blob, first * ${UUID_BYTES} + 1, (first + count) * ${UUID_BYTES})
  end
  first = first + count
end
if #claims > 0 then
  redis.call('HSET', KEYS[2], unpack(claims))
  redis.call('PEXPIRE', KEYS[2], ${LEFT_CLAIMS_MS})
end
return table.concat(verdicts)`

/** `ARGV`: slot, milliseconds for which they are remembered, ids, number of requests, of each its workspace and number of ids, then fields. */
export const CONFIRM = `${SLOTS}
local durable = 'd' .. string.format('%.0f', now + ARGV[2])
local first, after = 0, 5 + 2 * ARGV[4]
for request = 5, after - 1, 2 do
  local count = tonumber(ARGV[request + 1])
  local said = {}
  for at, id in ipairs(ids(ARGV[3], first, count)) do
    said[2 * at - 1] = id
    said[2 * at] = durable
  end
  say(ARGV[request], said)
  first = first + count
end
forget(ARGV, after)
return 1`

/** `ARGV`: slot, collector, ids, workspace, then fields. */
export const RELEASE = `${SLOTS}
local list = ids(ARGV[3], 0, #ARGV[3] / ${UUID_BYTES})
for _, hash in ipairs(look(ARGV[4], list)) do
  local free = {}
  for at, value in ipairs(hash.values) do
    if value and string.sub(value, 1, 1) == 'p' and string.sub(value, ${2 + DIGITS_OF_TIME}) == ARGV[2] then
      free[#free + 1] = list[at]
    end
  end
  if #free > 0 then redis.call('HDEL', hash.key, unpack(free)) end
end
forget(ARGV, 5)
return 1`
