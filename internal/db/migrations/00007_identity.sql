-- +goose Up
-- People and service users. The id is the `sub` of tokens and is never used again for anybody else, so rows are disabled,
-- not deleted. application is NULL for people (NULLs do not collide in a unique index on either engine).
-- enabled_since: a token made before it is not valid, so that what was issued before a deactivation stays dead after a
-- reactivation.
CREATE TABLE users (
    id TEXT PRIMARY KEY,
    realm TEXT NOT NULL,
    username TEXT NOT NULL,
    display_name TEXT NOT NULL,
    application TEXT,
    admin BOOLEAN NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    enabled_since BIGINT NOT NULL,
    disabled BIGINT NOT NULL
);
CREATE UNIQUE INDEX users_name ON users (realm, username);
CREATE UNIQUE INDEX users_application ON users (application);

-- The versions of a service user's password. The verifier is an HMAC of 256 random bits; it is emptied when the version
-- retires. last_used is the evidence by which an old version may retire; it is written in batches, a second late.
CREATE TABLE service_passwords (
    user_id TEXT NOT NULL REFERENCES users (id),
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    verifier BYTEA NOT NULL,
    prepared BIGINT NOT NULL,
    activated BIGINT NOT NULL,
    retired BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    PRIMARY KEY (user_id, version)
);

-- Access keys of administrators for the management API. The id is part of the key's text, so that a key is found without
-- its secret part being an index.
CREATE TABLE access_keys (
    id TEXT PRIMARY KEY,
    user_id TEXT NOT NULL REFERENCES users (id),
    label TEXT NOT NULL,
    verifier BYTEA NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    last_used BIGINT NOT NULL,
    disabled BIGINT NOT NULL
);
CREATE INDEX access_keys_user ON access_keys (user_id);
