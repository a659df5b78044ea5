-- Files made of a track on demand, for people to keep. Written by crate `pipeline` alone.

-- One file: made once for all who ask. Being made while neither `whole_at` nor `failed_at` is set.
CREATE TABLE renditions (
    id         uuid PRIMARY KEY,
    track_id   uuid NOT NULL REFERENCES tracks ON DELETE CASCADE,
    format     text NOT NULL CHECK (format IN ('flac', 'wav', 'mp3', 'aac', 'opus')),
    recipe     text NOT NULL,                 -- of all that the bytes follow from besides the source: another one is another file
    attempt    int NOT NULL DEFAULT 1 CHECK (attempt > 0), -- raised when a later try made other bytes than an earlier one
    len        bigint CHECK (len > 0),
    sha256     bytea CHECK (octet_length(sha256) = 32),
    whole_at   timestamptz,
    reason     text,                          -- why it can't be made: a stable code
    detail     text,                          -- the same in a sentence
    failed_at  timestamptz,
    used_at    timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT renditions_once UNIQUE (track_id, recipe),
    CONSTRAINT renditions_whole_facts CHECK (whole_at IS NULL OR (len IS NOT NULL AND sha256 IS NOT NULL AND failed_at IS NULL)),
    CONSTRAINT renditions_failed_facts CHECK ((failed_at IS NULL) = (reason IS NULL))
);
CREATE INDEX renditions_used_idx ON renditions (used_at);

-- Its bytes, in order and without a gap; each object is durable before its row.
CREATE TABLE rendition_pieces (
    rendition_id uuid NOT NULL REFERENCES renditions ON DELETE CASCADE,
    n            int NOT NULL CHECK (n >= 0),
    key          text NOT NULL,
    len          bigint NOT NULL CHECK (len > 0),
    sha          bytea NOT NULL CHECK (octet_length(sha) = 32),
    PRIMARY KEY (rendition_id, n)
);
