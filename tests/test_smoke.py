def test_smoke(server):
    server.check_serves()
