"""Photos become triples: decoded, segmented, captioned and written."""
