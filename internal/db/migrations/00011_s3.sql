-- +goose Up
-- A bucket of the embedded S3 endpoint. Its objects are files, not rows; the row says that it exists and whose it is.
CREATE TABLE s3_buckets (
    name TEXT PRIMARY KEY,
    team TEXT NOT NULL REFERENCES teams (id),
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE INDEX s3_buckets_team ON s3_buckets (team);

-- An access key of the endpoint. secret is sealed (purpose data, bound to this table, column and id), because a SigV4
-- verifier needs the secret itself. rules is JSON: what the key may do, and nothing else. application and bucket are
-- empty unless the key belongs to an application's agent. expires and disabled are 0 for never. last_used is written in
-- batches and may lag by half a minute.
CREATE TABLE s3_keys (
    id TEXT PRIMARY KEY,
    secret BYTEA NOT NULL,
    owner TEXT NOT NULL,
    application TEXT NOT NULL,
    bucket TEXT NOT NULL,
    rules TEXT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    expires BIGINT NOT NULL,
    disabled BIGINT NOT NULL,
    last_used BIGINT NOT NULL
);
CREATE INDEX s3_keys_application ON s3_keys (application);
CREATE INDEX s3_keys_owner ON s3_keys (owner);
