-- Tracks, the runs that encode them, and the segments that players fetch. Written by crate `pipeline` alone.

CREATE TABLE tracks (
    id              uuid PRIMARY KEY,
    owner           uuid NOT NULL REFERENCES accounts,
    state           text NOT NULL,
    reason          text,                   -- why it failed: a stable code
    detail          text,                   -- the same in a sentence
    title           text NOT NULL CHECK (length(title) BETWEEN 1 AND 1000),
    filename        text,
    release_id      uuid,
    storage_backend text NOT NULL CHECK (storage_backend IN ('local', 's3')),
    storage_key     text,
    file_path       text,
    size            bigint CHECK (size >= 0),
    sha256          bytea CHECK (octet_length(sha256) = 32),
    stored_at       timestamptz,            -- bytes verified and durable under their final name
    codec           text,
    source_rate     int,
    source_channels int,
    source_bits     int,
    lossless        boolean,
    samples         bigint,                 -- of the ladder's timeline, at `rate`
    rate            int,
    priming         int,                    -- of the AAC rungs, in samples: what a gapless player must know
    loudness        jsonb,
    peaks_key       text,
    run             int,                    -- the run that players are given
    generation      bigint NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT tracks_stored_has_a_place CHECK (stored_at IS NULL OR CASE storage_backend
        WHEN 's3' THEN coalesce(storage_key, '') <> ''
        ELSE coalesce(file_path, '') <> '' END),
    CONSTRAINT tracks_state_facts CHECK (CASE state
        WHEN 'ready' THEN stored_at IS NOT NULL AND sha256 IS NOT NULL AND run IS NOT NULL AND samples IS NOT NULL
        WHEN 'playable' THEN run IS NOT NULL
        WHEN 'failed' THEN reason IS NOT NULL
        ELSE true END)
);
CREATE INDEX tracks_owner_idx ON tracks (owner, created_at DESC, id);
CREATE INDEX tracks_unfinished_idx ON tracks (updated_at) WHERE state IN ('ingesting', 'playable');

INSERT INTO edge (machine, from_state, to_state, name) VALUES
    ('tracks', '',          'ingesting',  'Open'),
    ('tracks', 'ingesting', 'playable',   'Play'),
    ('tracks', 'ingesting', 'ready',      'Finish'),
    ('tracks', 'playable',  'ready',      'Finish'),
    ('tracks', 'ingesting', 'failed',     'Fail'),
    ('tracks', 'playable',  'failed',     'Fail'),
    ('tracks', 'failed',    'ingesting',  'Retry'),
    ('tracks', 'ingesting', 'taken_down', 'TakeDown'),
    ('tracks', 'playable',  'taken_down', 'TakeDown'),
    ('tracks', 'ready',     'taken_down', 'TakeDown'),
    ('tracks', 'failed',    'taken_down', 'TakeDown');
CREATE TRIGGER walk_edge BEFORE INSERT OR UPDATE OF state ON tracks
    FOR EACH ROW EXECUTE FUNCTION walk_edge();

-- One attempt to encode one track. Segments of different runs never share a URL.
CREATE TABLE runs (
    track_id      uuid NOT NULL REFERENCES tracks ON DELETE CASCADE,
    run           int NOT NULL CHECK (run > 0),
    token         bigint NOT NULL,          -- the job's fencing token: a rescued job's old holder can't write here
    rate          int NOT NULL,
    first_samples bigint NOT NULL,          -- length of segment 0 on the grid
    grid_samples  bigint NOT NULL,          -- length of every later segment but the last
    target_s      int NOT NULL,
    finished_at   timestamptz,              -- every rung is whole: ENDLIST
    created_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (track_id, run)
);

CREATE TABLE rungs (
    track_id  uuid NOT NULL,
    run       int NOT NULL,
    rung      int NOT NULL CHECK (rung BETWEEN 0 AND 15),
    name      text NOT NULL,                -- as in the ladder: aac:160k, flac
    codecs    text NOT NULL,                -- RFC 6381
    bandwidth bigint NOT NULL,              -- bound in bits per second, known before the first segment
    init_key  text NOT NULL,
    init_len  bigint NOT NULL,
    init_sha  bytea NOT NULL,
    PRIMARY KEY (track_id, run, rung),
    FOREIGN KEY (track_id, run) REFERENCES runs ON DELETE CASCADE
);

CREATE TABLE segments (
    track_id     uuid NOT NULL,
    run          int NOT NULL,
    rung         int NOT NULL,
    n            int NOT NULL CHECK (n >= 0),
    first_sample bigint NOT NULL CHECK (first_sample >= 0),
    samples      bigint NOT NULL CHECK (samples > 0),
    key          text NOT NULL,
    len          bigint NOT NULL,
    sha          bytea NOT NULL,
    PRIMARY KEY (track_id, run, rung, n),
    FOREIGN KEY (track_id, run, rung) REFERENCES rungs ON DELETE CASCADE
);
