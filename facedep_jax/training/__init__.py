"""Arrays → a head, its ensemble, its baselines, a run. It draws nothing and knows no pixels."""
