"""One module per command: parse the options, make one call, show the result."""
