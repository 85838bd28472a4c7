-- The vault: what must not be in events, sealed, part of the record, never rebuilt.

CREATE TABLE vault.items (
    kind text COLLATE "C" NOT NULL,
    owner uuid NOT NULL,
    id text COLLATE "C" NOT NULL,
    value bytea NOT NULL,
    CONSTRAINT items_pkey PRIMARY KEY (kind, owner, id)
);
CREATE INDEX items_id ON vault.items (kind, id);

-- Content-addressed bytes (.torrent, NFO); ref is a keyed hash of the plain content.
CREATE TABLE vault.blobs (
    ref bytea CONSTRAINT blobs_pkey PRIMARY KEY,
    value bytea NOT NULL
);

-- Sorted, so that two commands cannot block each other. No value means: destroy.
CREATE FUNCTION vault.change_items(
    kinds text[], owners uuid[], ids text[], vals bytea[], absent boolean[]
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    op record;
BEGIN
    FOR op IN
        SELECT u.kind, u.owner, u.id, u.value, u.absent
        FROM unnest(kinds, owners, ids, vals, absent) WITH ORDINALITY
            u(kind, owner, id, value, absent, ord)
        ORDER BY u.kind COLLATE "C", u.owner, u.id COLLATE "C", u.ord
    LOOP
        IF op.value IS NULL THEN
            DELETE FROM vault.items i
            WHERE i.kind = op.kind AND i.owner = op.owner AND i.id = op.id;
        ELSIF op.absent THEN
            INSERT INTO vault.items (kind, owner, id, value)
            VALUES (op.kind, op.owner, op.id, op.value) ON CONFLICT DO NOTHING;
            IF NOT FOUND THEN
                RAISE unique_violation USING
                    MESSAGE = 'the vault item exists', CONSTRAINT = 'items_absent';
            END IF;
        ELSE
            INSERT INTO vault.items AS i (kind, owner, id, value)
            VALUES (op.kind, op.owner, op.id, op.value)
            ON CONFLICT ON CONSTRAINT items_pkey DO UPDATE SET value = excluded.value;
        END IF;
    END LOOP;
END $$;

CREATE FUNCTION vault.write(
    kinds text[], owners uuid[], ids text[], vals bytea[], absent boolean[]
) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT vault.change_items(kinds, owners, ids, vals, absent);
$$;
