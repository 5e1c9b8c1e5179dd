-- For wrk: puts of 10,000 keys in turn, a form each. They are made before the first is sent: to make one while others
-- wait takes about a sixth of wrk's processor time.
local requests = {}
local turn = 0

init = function()
  local value = "value=" .. string.rep("v", 256)
  local headers = { ["Content-Type"] = "application/x-www-form-urlencoded" }
  for i = 1, 10000 do
    requests[i] = wrk.format("PUT", "/v2/keys/bench/" .. string.format("%026d", i), headers, value)
  end
end

request = function()
  turn = turn % 10000 + 1
  return requests[turn]
end
