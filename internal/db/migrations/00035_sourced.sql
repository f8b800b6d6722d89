-- +goose Up
-- Which memberships of groups a source outside keeps: a provider with which people sign in, or the directory of a realm. A
-- membership without such a row is an administrator's, and no source takes it away.
CREATE TABLE group_sources (
    group_id TEXT NOT NULL,
    user_id TEXT NOT NULL,
    -- provider:ID, or directory.
    source TEXT NOT NULL,
    PRIMARY KEY (user_id, group_id, source),
    FOREIGN KEY (group_id, user_id) REFERENCES group_members (group_id, user_id) ON DELETE CASCADE
);
CREATE INDEX group_sources_member ON group_sources (group_id, user_id);
CREATE INDEX group_sources_source ON group_sources (source, user_id);

-- Likewise the source that keeps an attribute, or empty: then no source changes it.
ALTER TABLE person_attributes ADD COLUMN source TEXT NOT NULL DEFAULT '';
CREATE INDEX person_attributes_source ON person_attributes (source, user_id) WHERE source <> '';
