-- Who may ask. Secrets are kept as SHA-256 of 256 random bits: a stolen dump signs nobody in.

CREATE TABLE accounts (
    id         uuid PRIMARY KEY,
    name       text NOT NULL CHECK (length(name) BETWEEN 1 AND 200),
    role       text NOT NULL CHECK (role IN ('listener', 'creator', 'label', 'moderator', 'admin')),
    created_at timestamptz NOT NULL DEFAULT now()
);

-- The owner is the account that the first start makes; there is one.
ALTER TABLE accounts ADD COLUMN is_owner boolean NOT NULL DEFAULT false;
CREATE UNIQUE INDEX accounts_one_owner ON accounts (is_owner) WHERE is_owner;

CREATE TABLE api_tokens (
    id         uuid PRIMARY KEY,
    account    uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    hash       bytea NOT NULL CONSTRAINT api_tokens_hash_key UNIQUE CHECK (octet_length(hash) = 32),
    label      text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    revoked_at timestamptz
);

CREATE TABLE sessions (
    id         uuid PRIMARY KEY,
    account    uuid NOT NULL REFERENCES accounts ON DELETE CASCADE,
    hash       bytea NOT NULL CONSTRAINT sessions_hash_key UNIQUE CHECK (octet_length(hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_expires_idx ON sessions (expires_at);
