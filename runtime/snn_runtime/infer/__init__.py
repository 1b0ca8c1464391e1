"""`snn-infer`: pictures in, labels out. `sources` finds them, `report` prints the answers."""
