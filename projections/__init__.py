"""Events to SQL tables, and the queries over them: the only home of SQL reads."""
