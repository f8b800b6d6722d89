-- +goose Up
-- Work that is due at some time: one row for each thing to do, which a runner of any node claims, does and reschedules.
-- The row is the whole truth: a node that dies leaves a claim that runs out. No cascade and no reference to what the key
-- names, because the packages that own those rows know nothing of jobs; they cancel the work in the transaction that
-- makes it pointless.
CREATE TABLE jobs (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    due BIGINT NOT NULL,           -- not to be done before; by the database's clock
    again BIGINT NOT NULL,         -- asked for once more while it was being done: due then; 0: not asked
    node TEXT NOT NULL,            -- who claims it; '': nobody
    claimed_until BIGINT NOT NULL, -- the claim runs out then, unless it is extended; 0: no claim
    epoch BIGINT NOT NULL,         -- fencing number: each claim has its own, always greater than those before
    attempts BIGINT NOT NULL,      -- claims since the last success
    last_error TEXT NOT NULL,      -- of the last attempt; holds nothing secret
    created BIGINT NOT NULL,
    PRIMARY KEY (kind, key)
);
-- Runners take the longest due of a kind, and sleep until the first of all.
CREATE INDEX jobs_kind_due ON jobs (kind, due);
CREATE INDEX jobs_due ON jobs (due);
