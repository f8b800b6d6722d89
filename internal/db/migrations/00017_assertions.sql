-- +goose Up
-- Assertions that are good once and were used: those by which clients prove to be themselves, and those of issuers that
-- say so. hash is the SHA-256 of who signed and of the jti. It is no MAC, because a jti is no secret, and every node must
-- come to the same hash even while a new term of the keyring is on its way to it. A row is of no use once the assertion
-- has expired, and is swept.
CREATE TABLE used_assertions (
    hash BYTEA PRIMARY KEY,
    used BIGINT NOT NULL, -- why: whoever looks into a theft sees when the first use was
    expires BIGINT NOT NULL -- why: some time after it the row is swept
);
CREATE INDEX used_assertions_expires ON used_assertions (expires);

-- Issuers whose JWTs count as authorization here (RFC 7523 section 2.1), such as a cluster or a CI system. An issuer that
-- is not here counts for nothing.
CREATE TABLE trusted_issuers (
    id TEXT PRIMARY KEY,
    issuer TEXT NOT NULL UNIQUE, -- why: the iss of its tokens, compared byte by byte; two records of one would contradict each other
    enabled BOOLEAN NOT NULL, -- why: an issuer in doubt can be shut off without losing its rules
    jwks TEXT NOT NULL, -- why: its public keys by value, so that nothing is fetched when a token comes
    max_lifetime BIGINT NOT NULL, -- why: seconds from iat to exp; a token that lives longer is refused
    single_use BOOLEAN NOT NULL, -- why: for issuers that make a token for one exchange, a second one is a theft
    rules TEXT NOT NULL, -- why: JSON; which subject speaks for whom. They are read and replaced as a whole
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);
