"""A training run: its folder, log, validation, previews and report."""
