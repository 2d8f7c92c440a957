"""Reports: findings, and self-contained HTML pages."""
