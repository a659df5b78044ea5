-- Uploads and the bytes that are durable for them. Written by crate `pipeline` alone.

CREATE TABLE uploads (
    id           uuid PRIMARY KEY,
    owner        uuid NOT NULL REFERENCES accounts,
    track_id     uuid NOT NULL CONSTRAINT uploads_track_key UNIQUE,
    door         text NOT NULL CHECK (door IN ('tus', 'ietf', 'chunks')),
    state        text NOT NULL,
    reason       text,
    length       bigint CHECK (length >= 0),
    part_bytes   bigint NOT NULL CHECK (part_bytes > 0),
    key          text NOT NULL CONSTRAINT uploads_key_key UNIQUE CHECK (key <> ''),
    multipart_id text,
    committed    bigint NOT NULL DEFAULT 0 CHECK (committed >= 0),
    sha256_want  bytea CHECK (octet_length(sha256_want) = 32),
    sha256       bytea CHECK (octet_length(sha256) = 32),
    crc64        bigint,
    deferred     boolean NOT NULL DEFAULT false,    -- the digest has a gap: one read of the object before publication
    epoch        bigint NOT NULL DEFAULT 0,
    node         uuid,
    lease_until  timestamptz,
    metadata     text NOT NULL DEFAULT '' CHECK (octet_length(metadata) <= 4096),   -- as received, for HEAD
    expires_at   timestamptz NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    stored_at    timestamptz,
    CONSTRAINT uploads_committed_within_length CHECK (length IS NULL OR committed <= length),
    CONSTRAINT uploads_state_facts CHECK (CASE state
        WHEN 'stored' THEN sha256 IS NOT NULL AND length IS NOT NULL AND committed = length AND stored_at IS NOT NULL
        WHEN 'failed' THEN reason IS NOT NULL
        ELSE true END)
);
CREATE INDEX uploads_expiry_idx ON uploads (expires_at) WHERE state IN ('opened', 'receiving', 'failed');
CREATE INDEX uploads_sealing_idx ON uploads (lease_until) WHERE state = 'sealing';
CREATE INDEX uploads_owner_idx ON uploads (owner, created_at DESC);

INSERT INTO edge (machine, from_state, to_state, name) VALUES
    ('uploads', '',          'opened',    'Open'),
    ('uploads', 'opened',    'receiving', 'Receive'),
    ('uploads', 'opened',    'sealing',   'Seal'),
    ('uploads', 'receiving', 'sealing',   'Seal'),
    ('uploads', 'sealing',   'stored',    'Store'),
    ('uploads', 'opened',    'aborted',   'Abort'),
    ('uploads', 'receiving', 'aborted',   'Abort'),
    ('uploads', 'opened',    'expired',   'Expire'),
    ('uploads', 'receiving', 'expired',   'Expire'),
    ('uploads', 'opened',    'failed',    'Fail'),
    ('uploads', 'receiving', 'failed',    'Fail'),
    ('uploads', 'sealing',   'failed',    'Fail');
CREATE TRIGGER walk_edge BEFORE INSERT OR UPDATE OF state ON uploads
    FOR EACH ROW EXECUTE FUNCTION walk_edge();

-- What was acknowledged stays acknowledged, and the map from offset to part never changes.
CREATE FUNCTION uploads_only_grow() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.committed < OLD.committed THEN
        RAISE EXCEPTION 'uploads %: committed would go back from % to %', OLD.id, OLD.committed, NEW.committed
              USING ERRCODE = 'check_violation', CONSTRAINT = 'uploads_committed_grows';
    END IF;
    IF NEW.part_bytes <> OLD.part_bytes OR NEW.key <> OLD.key
       OR (OLD.length IS NOT NULL AND NEW.length IS DISTINCT FROM OLD.length) OR NEW.epoch < OLD.epoch THEN
        RAISE EXCEPTION 'uploads %: part_bytes, key and a set length are fixed, and epoch grows', OLD.id
              USING ERRCODE = 'check_violation', CONSTRAINT = 'uploads_map_is_fixed';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER uploads_only_grow BEFORE UPDATE ON uploads
    FOR EACH ROW EXECUTE FUNCTION uploads_only_grow();

CREATE TABLE upload_parts (
    upload_id uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    part_no   int NOT NULL CHECK (part_no BETWEEN 1 AND 10000),
    off       bigint NOT NULL CHECK (off >= 0),
    len       bigint NOT NULL CHECK (len > 0),
    etag      text NOT NULL,
    crc64     bigint NOT NULL,
    sha_state bytea,                        -- the digest's midstate at off + len; null behind a hole
    epoch     bigint NOT NULL,
    PRIMARY KEY (upload_id, part_no)
);

CREATE TABLE upload_tails (
    upload_id  uuid NOT NULL REFERENCES uploads ON DELETE CASCADE,
    off        bigint NOT NULL CHECK (off >= 0),
    len        bigint NOT NULL CHECK (len > 0),
    object_key text NOT NULL CONSTRAINT upload_tails_object_key UNIQUE,
    crc64      bigint NOT NULL,
    sha_state  bytea,
    epoch      bigint NOT NULL,
    PRIMARY KEY (upload_id, off)
);

-- A deletion is a row, written in the transaction that makes it right, carried out by the sweep.
CREATE TABLE store_trash (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key          text NOT NULL,
    multipart_id text,                      -- set: abort this multipart upload; null: delete the object
    is_prefix    boolean NOT NULL DEFAULT false,
    not_before   timestamptz NOT NULL DEFAULT now(),
    tries        int NOT NULL DEFAULT 0,
    last_error   text
);
CREATE INDEX store_trash_due_idx ON store_trash (not_before);

-- The end of the longest contiguous committed prefix at or after `start`: the only source of an offset.
-- It walks over rows; it never adds up sizes.
CREATE FUNCTION upload_prefix(upload uuid, start bigint) RETURNS bigint LANGUAGE plpgsql STABLE AS $$
DECLARE
    here bigint := start;
    next bigint;
BEGIN
    LOOP
        SELECT max(piece.off + piece.len) INTO next FROM (
            SELECT off, len FROM upload_parts WHERE upload_id = upload AND off <= here AND off + len > here
            UNION ALL
            SELECT off, len FROM upload_tails WHERE upload_id = upload AND off <= here AND off + len > here) piece;
        IF next IS NULL THEN
            RETURN here;
        END IF;
        here := next;
    END LOOP;
END $$;
