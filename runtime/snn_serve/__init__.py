"""The command `snn-serve`: an HTTP server for a board or a rack.

cli ─► server ─► gate ─► routes ─┬─ bodies ─► decoders (child processes) ─┐
        │                        ├─ inference  the Open Inference Protocol ├─► models ─► batcher
        │                        ├─ stream     answers to a camera         ┤
        │                        └─ page/, metrics                         ┘
        └─ connections             deadlines and numbers of connections
"""

PROGRAM = "snn-serve"
