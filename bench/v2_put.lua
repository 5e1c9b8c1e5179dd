-- For wrk: puts of 10,000 keys in turn, a form each.
local value = "value=" .. string.rep("v", 256)
local turn = 0

wrk.method = "PUT"
wrk.headers["Content-Type"] = "application/x-www-form-urlencoded"

request = function()
  turn = (turn + 1) % 10000
  return wrk.format(nullptr, "/v2/keys/bench/" .. string.format("%026d", turn), nil, value)
end
