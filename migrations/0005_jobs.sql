-- Work that outlives a process. A job is enqueued in the transaction of the row that wants it, leased with
-- SKIP LOCKED, kept by heartbeat, and fenced by `token`: every effect names the token that it was done under.

CREATE TABLE jobs (
    id          uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    kind        text NOT NULL,
    subject     uuid NOT NULL,
    version     int NOT NULL DEFAULT 1,     -- of the source: a second enqueue of the same work is a no-op
    payload     jsonb NOT NULL DEFAULT '{}',
    token       bigint NOT NULL DEFAULT 0,
    node        uuid,
    lease_until timestamptz,
    run_after   timestamptz NOT NULL DEFAULT now(),
    failures    int NOT NULL DEFAULT 0,
    last_error  text,
    created_at  timestamptz NOT NULL DEFAULT now(),
    done_at     timestamptz,
    dead_at     timestamptz,
    CONSTRAINT jobs_once UNIQUE (kind, subject, version)
);
CREATE INDEX jobs_due_idx ON jobs (kind, run_after) WHERE done_at IS NULL AND dead_at IS NULL;
