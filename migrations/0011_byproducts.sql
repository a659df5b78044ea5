-- What decoding a track gives besides its ladder: the file's own words, its picture, and what it sounds like. Written by crate
-- `pipeline` alone.

ALTER TABLE tracks
    ADD tags jsonb,                                     -- cleaned; an object of strings
    ADD title_given boolean NOT NULL DEFAULT true;      -- by its owner; otherwise the file's own title replaces it
CREATE INDEX tracks_same_bytes_idx ON tracks (owner, sha256) WHERE sha256 IS NOT NULL;

-- The source's picture in a few sizes, of one run as its segments are.
CREATE TABLE pictures (
    track_id uuid NOT NULL,
    run      int NOT NULL,
    side     int NOT NULL CHECK (side > 0),             -- the longer one, in pixels
    width    int NOT NULL CHECK (width BETWEEN 1 AND side),
    height   int NOT NULL CHECK (height BETWEEN 1 AND side),
    key      text NOT NULL,
    len      bigint NOT NULL,
    sha      bytea NOT NULL,
    PRIMARY KEY (track_id, run, side),
    FOREIGN KEY (track_id, run) REFERENCES runs ON DELETE CASCADE
);

-- Chromaprint of the first two minutes.
CREATE TABLE fingerprints (
    track_id    uuid PRIMARY KEY REFERENCES tracks ON DELETE CASCADE,
    owner       uuid NOT NULL REFERENCES accounts,
    duration_ms bigint NOT NULL CHECK (duration_ms > 0),
    items       int[] NOT NULL,                         -- in order, some eight a second
    words       int[] NOT NULL                          -- the same without their last bits, each once: to find others by
);
CREATE INDEX fingerprints_near_idx ON fingerprints (owner, duration_ms);
CREATE INDEX fingerprints_words_idx ON fingerprints USING gin (words);

-- Two tracks of one account that are the same recording in different bytes.
CREATE TABLE same_recordings (
    one   uuid NOT NULL REFERENCES tracks ON DELETE CASCADE,
    other uuid NOT NULL REFERENCES tracks ON DELETE CASCADE,
    PRIMARY KEY (one, other),
    CHECK (one < other)
);
CREATE INDEX same_recordings_other_idx ON same_recordings (other);
