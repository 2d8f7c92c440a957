"""Finetunes the segmentation ControlNet on checked triples."""

import os

# Without it Intel's MKL adds up in another order each time, and a resumed run differs in the last bit (seen with a
# batch of one). It is read before the first computation, and costs nothing measurable.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
