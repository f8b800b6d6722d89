-- +goose Up
-- Groups of people, each within one realm. What a group may do is for the applications to say that are told of it.
CREATE TABLE groups (
    id TEXT PRIMARY KEY,
    realm TEXT NOT NULL,
    name TEXT NOT NULL,
    -- The name as it is compared and searched, without case and marks: two groups that people could take for one another
    -- must not be.
    name_key TEXT NOT NULL,
    description TEXT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL
);
CREATE UNIQUE INDEX groups_name ON groups (realm, name_key);

-- Who is in which group.
CREATE TABLE group_members (
    group_id TEXT NOT NULL REFERENCES groups (id),
    user_id TEXT NOT NULL REFERENCES users (id),
    added BIGINT NOT NULL,
    added_by TEXT NOT NULL,
    PRIMARY KEY (group_id, user_id)
);
CREATE INDEX group_members_user ON group_members (user_id, group_id);
