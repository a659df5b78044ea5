-- Due jobs in turns: one account's album doesn't keep another's single waiting. Written by crate `pipeline` alone.

ALTER TABLE jobs
    ADD COLUMN account uuid,                -- whose turn it takes; null: nobody's
    ADD COLUMN turn bigint;                 -- its place in the line, told when it becomes due; null: after all that have one
UPDATE jobs SET turn = 0 WHERE run_after <> 'infinity' AND done_at IS NULL AND dead_at IS NULL;

CREATE INDEX jobs_turn_idx ON jobs (kind, turn, run_after) WHERE done_at IS NULL AND dead_at IS NULL;
CREATE INDEX jobs_account_idx ON jobs (kind, account, turn) WHERE done_at IS NULL AND dead_at IS NULL;
