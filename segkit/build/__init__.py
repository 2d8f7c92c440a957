"""Turn photos into triples: decode, segment, caption and write."""
