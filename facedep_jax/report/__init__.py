"""Pictures and pages made of results. They know nothing of how results came about."""
