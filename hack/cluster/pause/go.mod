module claude-gateway.test/pause

go 1.26.0
