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
