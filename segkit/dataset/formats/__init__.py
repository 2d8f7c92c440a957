"""Other tools' dataset layouts, one module each."""
