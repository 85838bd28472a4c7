-- Trigrams, by which the catalogue is searched (projections/torrents.py).
CREATE EXTENSION IF NOT EXISTS pg_trgm WITH SCHEMA public;
