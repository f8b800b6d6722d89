-- +goose Up
-- What a realm keeps of its people besides what is kept of everybody. Which attributes there are is for the configuration
-- to say; values of one that it no longer names stay, and are told to no client.
CREATE TABLE person_attributes (
    user_id TEXT NOT NULL REFERENCES users (id),
    name TEXT NOT NULL,
    -- JSON: a string, a number, true or false, or a list of strings.
    value TEXT NOT NULL,
    PRIMARY KEY (user_id, name)
);
