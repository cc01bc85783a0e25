-- wrk's script: one request per line of a file, in order, over and over; then one line of figures.
-- A line is the header field that differs from request to request, or empty; before it may stand a path and a space.
local requests, count, last = {}, 0, 0

function init(args)
  for line in io.lines(args[1]) do
    local path, rest = line:match("^(/%S*) (.*)$")
    line = rest or line
    local field = line == "" and "" or line .. "\r\n"
    count = count + 1
    requests[count] = table.concat({
      "GET ", path or wrk.path, " HTTP/1.1\r\n",
      "Host: ", wrk.host, ":", wrk.port, "\r\n",
      "User-Agent: bench-device/1.0 (television)\r\n",
      "Accept: application/json\r\n",
      "Accept-Language: en-GB,en;q=0.8\r\n",
      "Accept-Encoding: gzip, deflate\r\n",
      field, "\r\n",
    })
  end
end

function request()
  last = last % count + 1
  return requests[last]
end

function done(summary, latency)
  local errors = summary.errors
  io.write(string.format(
    'FIGURES {"requests":%d,"duration_us":%d,"p50_us":%d,"p99_us":%d,"p999_us":%d,'
      .. '"refused":%d,"connect":%d,"read":%d,"write":%d,"timeout":%d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency:percentile(99.9),
    errors.status, errors.connect, errors.read, errors.write, errors.timeout))
end
