"""The command `snn-serve`: an HTTP server for a board or a rack.

cli ─► server ─► gate ─► routes ─┬─ bodies ─► decoders ─► decoder (a child) ─┐
        │                        ├─ inference  the Open Inference Protocol   ├─► models ─► batcher
        │                        ├─ stream     answers to a camera           ┤
        │                        └─ page/, metrics                           ┘
        ├─ listening               how it stops to listen, and loses nobody
        ├─ connections, outgoing   deadlines and numbers of connections; what they send
        ├─ parser, timers          requests that ask for another protocol; deadlines
        ├─ admission, rates        what is refused by its head alone
        ├─ hook                    answers that are posted
        ├─ hangup                  SIGHUP while it starts
        └─ limits, refusal         all limits and deadlines; what a client is told
"""

PROGRAM = "snn-serve"
