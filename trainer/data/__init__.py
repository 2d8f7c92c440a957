"""Training data: examples, buckets, crops, batches and the latents cache."""
