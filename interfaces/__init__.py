"""Everything that knocks on the door."""
