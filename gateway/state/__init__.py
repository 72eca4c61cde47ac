"""What a fleet shares: exact limits and additive counters, in memory or in Redis."""
