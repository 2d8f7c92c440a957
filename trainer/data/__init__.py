"""Training data: examples, buckets, crops, batches and the latent cache."""
