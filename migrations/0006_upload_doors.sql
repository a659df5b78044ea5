-- Three doors, several nodes: uploads that are parts of others, parts that arrive in any order, parts that a dead node
-- may still overwrite. Written by crate `pipeline` alone.

ALTER TABLE uploads
    ALTER COLUMN track_id DROP NOT NULL,
    -- A `partial` becomes no track; `final` is made of partials.
    ADD COLUMN kind text NOT NULL DEFAULT 'whole' CHECK (kind IN ('whole', 'partial', 'final')),
    ADD COLUMN concat text CHECK (octet_length(concat) <= 16384),      -- as received, for HEAD
    ADD COLUMN ended boolean NOT NULL DEFAULT false,                   -- the client said that nothing more comes
    ADD COLUMN shadow int4range,                                       -- parts that a dead holder may still overwrite
    ADD COLUMN scan text CHECK (scan IN ('clean', 'infected')),        -- what the virus scan said, where there is one
    ADD CONSTRAINT uploads_partials_have_no_track CHECK ((kind = 'partial') = (track_id IS NULL));
UPDATE uploads SET ended = true WHERE length IS NOT NULL;
-- Expired partials, and what one account did lately.
CREATE INDEX uploads_partials_idx ON uploads (expires_at) WHERE kind = 'partial';

-- Which partials a final upload is made of, in their order.
CREATE TABLE upload_joins (
    final_id   uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    n          int NOT NULL CHECK (n >= 0),
    partial_id uuid NOT NULL REFERENCES uploads,
    PRIMARY KEY (final_id, n)
);
CREATE INDEX upload_joins_partial_idx ON upload_joins (partial_id);

-- Who is writing one part of an upload whose parts come in any order. The part's row is inserted by the one who can
-- delete the claim with its token; a claim that ran out may still write, so its part is shadowed.
CREATE TABLE upload_claims (
    upload_id   uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    part_no     int NOT NULL CHECK (part_no BETWEEN 1 AND 10000),
    token       uuid NOT NULL,
    node        uuid NOT NULL,
    claim_until timestamptz NOT NULL,
    PRIMARY KEY (upload_id, part_no)
);

-- Tail objects that repeat a shadowed part stay until the object is whole.
ALTER TABLE upload_tails
    ADD COLUMN shadows_part int,
    DROP CONSTRAINT upload_tails_pkey,
    ADD CONSTRAINT upload_tails_pkey PRIMARY KEY (object_key),
    DROP CONSTRAINT upload_tails_object_key;
CREATE UNIQUE INDEX upload_tails_place_key ON upload_tails (upload_id, off) WHERE shadows_part IS NULL;
CREATE INDEX upload_tails_upload_idx ON upload_tails (upload_id, off);
