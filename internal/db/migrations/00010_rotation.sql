-- +goose Up
-- One credential that rotates: a kind (service password, client secret) of an application. The row is the anchor that
-- every step compares and sets.
CREATE TABLE rotation_credentials (
    application TEXT NOT NULL,
    kind TEXT NOT NULL,
    -- Grows with every change of the credential's versions: a node that decided on an older state changes no row.
    epoch BIGINT NOT NULL,
    -- False is a tombstone: the application was deactivated, and no step of any node does anything any more.
    live BOOLEAN NOT NULL,
    -- The highest version ever given. Versions are never given twice, also not after a deactivation.
    last_version BIGINT NOT NULL,
    -- When the active version became active; 0 without one.
    activated_at BIGINT NOT NULL,
    -- A rotation was asked for, by whom and why; 0 when none is. Asking again while it is set changes nothing, so that a
    -- hundred wishes make one rotation.
    asked_at BIGINT NOT NULL,
    asked_by TEXT NOT NULL,
    asked_for TEXT NOT NULL,
    -- What keeps the next version from being made, for people, without secrets; empty when nothing does. Trouble with one
    -- destination is in rotation_deliveries.
    problem TEXT NOT NULL,
    problem_since BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (application, kind)
);

-- The versions of a credential and the states of their lives (package lifecycle).
CREATE TABLE rotation_versions (
    application TEXT NOT NULL,
    kind TEXT NOT NULL,
    version BIGINT NOT NULL,
    state TEXT NOT NULL,
    -- Why it was made: due, asked, changed, destination, …
    reason TEXT NOT NULL,
    -- Its document holds no secret, as that of a public client: time alone makes no new one. When that changes, one is due.
    fixed BOOLEAN NOT NULL,
    -- The document that goes to the destinations, sealed; only while the version is prepared, so that any node can write
    -- the same bytes again. The check keeps a forgotten erasure from committing.
    sealed BYTEA,
    prepared_at BIGINT NOT NULL,
    activated_at BIGINT NOT NULL,
    retiring_at BIGINT NOT NULL,
    retired_at BIGINT NOT NULL,
    -- Retired by the hard limit and not by evidence.
    forced BOOLEAN NOT NULL,
    PRIMARY KEY (application, kind, version),
    FOREIGN KEY (application, kind) REFERENCES rotation_credentials (application, kind),
    CHECK (sealed IS NULL OR state = 'prepared')
);
-- One open change per credential over all nodes, whatever the program believes.
CREATE UNIQUE INDEX rotation_versions_prepared ON rotation_versions (application, kind) WHERE state = 'prepared';
-- And one version to use.
CREATE UNIQUE INDEX rotation_versions_active ON rotation_versions (application, kind) WHERE state = 'active';

-- Where an application's credentials go.
CREATE TABLE rotation_destinations (
    application TEXT NOT NULL,
    store TEXT NOT NULL,
    bucket TEXT NOT NULL,
    added_at BIGINT NOT NULL,
    added_by TEXT NOT NULL,
    PRIMARY KEY (application, store, bucket)
);

-- What each destination shows of each credential. Buckets are never read: this is what we know.
CREATE TABLE rotation_deliveries (
    application TEXT NOT NULL,
    kind TEXT NOT NULL,
    store TEXT NOT NULL,
    bucket TEXT NOT NULL,
    -- The version it shows; 0 before the first.
    version BIGINT NOT NULL,
    delivered_at BIGINT NOT NULL,
    -- Failures in a row since failing_since, the last one's code and text (without secrets), and when it is tried again.
    failures BIGINT NOT NULL,
    failing_since BIGINT NOT NULL,
    error_code TEXT NOT NULL,
    error TEXT NOT NULL,
    next_try BIGINT NOT NULL,
    PRIMARY KEY (application, kind, store, bucket),
    FOREIGN KEY (application, kind) REFERENCES rotation_credentials (application, kind),
    FOREIGN KEY (application, store, bucket) REFERENCES rotation_destinations (application, store, bucket) ON DELETE CASCADE
);

-- What is known about the uses of credentials, by all nodes together. One row.
CREATE TABLE rotation_watch (
    id BIGINT PRIMARY KEY,
    -- Uses are observed without a gap since then: a node that vanished with what it had seen, and an interruption, move it
    -- forward.
    since BIGINT NOT NULL,
    -- When any node last reported; 0 when none ever did.
    reported BIGINT NOT NULL,
    -- The last interruption, in which no node reported: none ran, the database was away, or its clock jumped. Nobody could
    -- fetch anything then, perhaps; so it counts for nothing.
    down BIGINT NOT NULL,
    up BIGINT NOT NULL
);
INSERT INTO rotation_watch (id, since, reported, down, up) VALUES (1, 0, 0, 0, 0);

-- The nodes that see uses, and until when what each has seen is written. A node that ends in order deletes its row; a row
-- that grows old is a node that vanished or was cut off.
CREATE TABLE rotation_watchers (
    node TEXT PRIMARY KEY,
    until BIGINT NOT NULL
);

-- The policy by which each kind's jobs were last planned: when configuration says another one, they are planned anew.
CREATE TABLE rotation_policies (
    kind TEXT PRIMARY KEY,
    policy TEXT NOT NULL
);
