-- +goose Up
-- The key pairs that sign tokens. kid is the RFC 7638 thumbprint of the public half, so it can never point at another
-- key. private_box is the private half, sealed and bound to this row; it is emptied when the key retires.
-- activate_at: not before this instant, when every verifier's copy of the key set must hold the key.
-- retire_at: when the last token that it signed has expired (0 while it is not retiring).
CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    alg TEXT NOT NULL,
    state TEXT NOT NULL,
    public_key BYTEA NOT NULL,
    private_box BYTEA NOT NULL,
    created BIGINT NOT NULL,
    activate_at BIGINT NOT NULL,
    activated BIGINT NOT NULL,
    retiring BIGINT NOT NULL,
    retire_at BIGINT NOT NULL,
    retired BIGINT NOT NULL,
    revoked BOOLEAN NOT NULL
);

-- Two nodes that rotate at the same moment cannot both make the new key, nor both name the active one.
CREATE UNIQUE INDEX signing_keys_one_active ON signing_keys (alg) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_one_prepared ON signing_keys (alg) WHERE state = 'prepared';
