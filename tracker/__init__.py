"""The announce path: swarms in memory, facts to a stream; usable without anything else of ours."""
