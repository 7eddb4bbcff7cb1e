"""More bytes than 32 bits can count, with the largest buffer."""

import threading

import pytest

from support import IO_TIMEOUT

BUFFER = 1 << 20
BYTES = (1 << 32) + 12_345


@pytest.mark.thorough
@pytest.mark.limit(240)
def test_more_than_4_gb_through_one_connection(start_server):
    server = start_server("-v", "--buffer", BUFFER)
    piece = bytes(range(256)) * (BUFFER // 256)
    with server.connect() as client:
        def send():
            left = BYTES
            while left > 0:
                client.sendall(piece[:left] if left < BUFFER else piece)
                left -= BUFFER
            client.shutdown(1)
        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        received, buffer = 0, bytearray(BUFFER)
        while True:
            size = client.recv_into(buffer)
            if size == 0:
                break
            at = received % 256  # compare with the pattern from here on
            assert buffer[:1] == piece[at:at + 1]
            assert buffer[size - 1] == (received + size - 1) % 256
            received += size
        sender.join(IO_TIMEOUT)
        assert not sender.is_alive()
    assert received == BYTES
    server.wait_for(rf"^close conn=1 reason=eof received={BYTES} "
                    rf"sent={BYTES} live=0$")
    totals = server.stop()
    assert totals["received"] == totals["sent"] == BYTES
