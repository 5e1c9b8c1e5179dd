-- For wrk: sixteen requests for the key of the URL in one write.
local many

init = function()
  many = string.rep(wrk.format("GET", wrk.path), 16)
end

request = function()
  return many
end
