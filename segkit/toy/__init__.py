"""The embedded default: rendered pictures and small networks of the real architectures, so that all can run offline."""
