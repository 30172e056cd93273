-- Sends prebuilt requests, and prints what wrk measured as one line of JSON behind the word RESULT.
--
--     wrk … --script replay.lua URL -- <request file> <requests per second, 0 = as fast as answers come> <threads>
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

local requests = {}
local position = 0
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

function init(arguments)
  local path, rate, thread_count = arguments[1], tonumber(arguments[2]), tonumber(arguments[3])
  local file = assert(io.open(path, 'rb'))
  for length in io.lines(path .. '.lengths') do
    requests[#requests + 1] = assert(file:read(tonumber(length)))
  end
  file:close()
  -- Threads begin at different places, so that they do not send the same at the same time.
  position = math.floor(#requests * thread_number / thread_count)
  if rate > 0 then
    interval_ms = 1000 * thread_count / rate
    delay = paced_delay
  end
end

function request()
  position = position % #requests + 1
  return requests[position]
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
