"""What one turn of the loop writes leaves in one piece, and in order."""

import asyncio
from unittest.mock import Mock, call

from snn_serve.outgoing import LARGE, Outgoing


def test_pieces_are_gathered_for_one_turn() -> None:
    async def turns() -> None:
        transport, close = Mock(), Mock()
        transport.is_closing.return_value = False
        out = Outgoing(transport, asyncio.get_running_loop(), close)
        out.write(b"head ")
        out.write(b"body")
        assert not transport.write.called
        await asyncio.sleep(0)
        assert transport.write.mock_calls == [call(b"head body")]
        out.write(b"head ")
        out.write(bytes(LARGE))  # nothing gathers without end in one turn
        assert transport.write.mock_calls[1:] == [call(b"head " + bytes(LARGE))]
        out.write(b"last")
        out.close()
        assert transport.write.mock_calls[2:] == [call(b"last")] and close.called
        await asyncio.sleep(0)
        assert len(transport.write.mock_calls) == 3
        assert out.get_extra_info is transport.get_extra_info

    asyncio.run(turns())
