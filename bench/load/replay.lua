-- Sends prebuilt requests, and prints what wrk measured as one line of JSON behind the word RESULT.
--
--     wrk … --script replay.lua URL -- <request file> <requests per second, 0 = as fast as answers come> <threads>
--           <number of the first pass> <copies: 0 = none, else how many requests a copy comes after its original>
--
-- Where the file of requests has one of places beside it, the number of the pass is written there before a request is sent: 8 hexadecimal
-- digits, of an id of each event, so that every pass over the file brings new events. That is done in place, in memory of our own; the
-- string that wrk wants is a copy, 5 µs for 55 KB. Also a request without places is copied so, and the two cost the generator the same.
--
-- There is no `response` function: with one, wrk calls into Lua for every answer and the generator becomes the bottleneck.
-- wrk itself counts answers above 399 as errors.
--
-- Pacing: wrk has no rate. `delay` is asked before a connection sends again and gives whole milliseconds. Each thread has an absolute
-- timetable, and a connection that is free takes the next departure of it; so the rate is exact on average, and after a
-- stall the connections catch up as far as CATCH_UP_MS back. wrk's latency begins when the request is sent: how many were sent late,
-- which it does not count, is said beside it.

local CATCH_UP_MS = 1000
local LATE_MS = 5

-- Globals of a thread, which `done` reads.
departures = 0
late_departures = 0

local threads = {}
function setup(thread)
  thread:set('thread_number', #threads)
  threads[#threads + 1] = thread
end

local PASSES = 2 ^ 20 -- numbers that a thread may use

local requests = {} -- strings; where numbers are written, memory of our own
local places = {} -- in each of them
local position = 0
local sent = 0 -- originals
local first_pass = 0
local copy_distance = 0
local was_original = false
local interval_ms = 0
local departure_ms
local ffi = require('ffi')
ffi.cdef [[
  typedef struct { long seconds; long nanoseconds; } penstock_time;
  int clock_gettime(int clock, penstock_time *time);
]]
local time = ffi.new('penstock_time')
local CLOCK_MONOTONIC = 1

local function now_ms()
  ffi.C.clock_gettime(CLOCK_MONOTONIC, time)
  return tonumber(time.seconds) * 1000 + tonumber(time.nanoseconds) / 1e6
end

local function paced_delay()
  local now = now_ms()
  if departure_ms == nil or departure_ms < now - CATCH_UP_MS then departure_ms = now end
  departure_ms = departure_ms + interval_ms
  departures = departures + 1
  if departure_ms < now - LATE_MS then late_departures = late_departures + 1 end
  return math.max(0, math.floor(departure_ms - now))
end

local function read_places(path)
  local file = io.open(path .. '.places')
  if file == nil then return false end
  for line in file:lines() do
    local index = #places + 1
    places[index] = {}
    for place in line:gmatch('%d+') do table.insert(places[index], tonumber(place)) end
    local bytes = requests[index]
    requests[index] = { length = #bytes, bytes = ffi.new('char[?]', #bytes) }
    ffi.copy(requests[index].bytes, bytes, #bytes) -- as an initializer it would be copied with its zero, one byte too far
  end
  file:close()
  return true
end

local function numbered(number)
  local index = (position + number) % #requests + 1
  local digits = string.format('%08x', first_pass + math.floor(number / #requests))
  local request, own_places = requests[index], places[index]
  for place = 1, #own_places do ffi.copy(request.bytes + own_places[place], digits, 8) end
  return ffi.string(request.bytes, request.length)
end

-- Originals and copies take turns, once there are enough originals.
local function numbered_request()
  if copy_distance > 0 and sent >= copy_distance then
    was_original = not was_original
    if not was_original then return numbered(sent - 1 - copy_distance) end
  end
  sent = sent + 1
  return numbered(sent - 1)
end

local function plain_request()
  position = position % #requests + 1
  return requests[position]
end

function init(arguments)
  local path, rate, thread_count = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  local file = assert(io.open(path, 'rb'))
  for length in io.lines(path .. '.lengths') do
    requests[#requests + 1] = assert(file:read(tonumber(length)))
  end
  file:close()
  -- Threads begin at different places, so that they do not send the same at the same time.
  position = math.floor(#requests * thread_number / thread_count)
  first_pass = tonumber(arguments[4]) + PASSES * thread_number
  copy_distance = tonumber(arguments[5])
  request = read_places(path) and numbered_request or plain_request
  if rate > 0 then
    interval_ms = 1000 * thread_count / rate
    delay = paced_delay
  end
end

function done(summary, latency)
  local errors = summary.errors
  local all, late = 0, 0
  for _, thread in ipairs(threads) do
    all = all + thread:get('departures')
    late = late + thread:get('late_departures')
  end
  io.write(string.format(
    'RESULT {"requests":%d,"durationUs":%d,"errors":{"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d},' ..
    '"p50Us":%d,"p99Us":%d,"p999Us":%d,"maxUs":%d,"lateShare":%.4f}\n',
    summary.requests, summary.duration, errors.connect, errors.read, errors.write, errors.status, errors.timeout,
    latency:percentile(50), latency:percentile(99), latency:percentile(99.9), latency.max,
    late / math.max(1, all)))
end
