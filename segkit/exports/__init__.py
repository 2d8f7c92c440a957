"""Export: a dataset in the layouts of other tools, or in shards."""
