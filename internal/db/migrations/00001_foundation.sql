-- +goose Up
-- A row for each write transaction that wrote: the proof that it committed, for the node that lost its connection while
-- COMMIT was under way. That node writes the row itself, with fence true, if it finds none: then the transaction can never
-- commit any more and may be run again. Old rows are swept.
CREATE TABLE tx_marks (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    fence BOOLEAN NOT NULL
);
CREATE INDEX tx_marks_at ON tx_marks (at);

-- What the caches of every node must forget. Unordered on purpose: readers take all that is younger than the longest
-- transaction and remember what they have seen, so that no global counter is needed.
CREATE TABLE changes (
    id TEXT PRIMARY KEY,
    at BIGINT NOT NULL,
    topic TEXT NOT NULL,
    item TEXT NOT NULL
);
CREATE INDEX changes_at ON changes (at);
