"""Reports: findings about palettes and maps, self-contained HTML pages, and contact sheets."""
