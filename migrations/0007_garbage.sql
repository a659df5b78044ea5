-- What an account holds, counted when it wants more; and what nobody names, found and deleted.

-- An account's open uploads and partials: few beside all that it ever uploaded.
CREATE INDEX uploads_held_idx ON uploads (owner) WHERE state IN ('opened', 'receiving', 'sealing') OR kind = 'partial';

-- Found by the orphan sweep rather than named by a row that ended. `bytes`: what its deletion will free, where known.
ALTER TABLE store_trash
    ADD COLUMN orphan boolean NOT NULL DEFAULT false,
    ADD COLUMN bytes bigint CHECK (bytes >= 0);
CREATE INDEX store_trash_key_idx ON store_trash (key);

-- When the orphan sweep last ended, on whichever node: one row.
CREATE TABLE orphan_sweep (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    ended_at timestamptz NOT NULL,
    kept     bigint NOT NULL,                   -- objects that a row names
    orphans  bigint NOT NULL,
    bytes    bigint NOT NULL                    -- of the orphans
);
