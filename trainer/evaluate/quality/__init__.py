"""Picture quality beside agreement with the maps: KID, FID, CLIP score, and the spread among pictures of one map."""
