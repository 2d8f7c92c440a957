"""One training step: loss, optimizers, distributed processes, exact resume."""
