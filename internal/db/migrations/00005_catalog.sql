-- +goose Up
-- A class of data, such as sales_order. owning_team is empty where an application owns the type: the one whose id stands
-- before the first dot. revision counts changes: it is the ETag, so that two editors cannot overwrite each other unseen.
CREATE TABLE resource_types (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    description TEXT NOT NULL,
    owning_team TEXT NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);

-- The realms whose users may own such data. Rows, not a list in a column: each is checked against the configuration.
CREATE TABLE resource_type_owners (
    resource_type TEXT NOT NULL REFERENCES resource_types (id) ON DELETE CASCADE,
    realm TEXT NOT NULL,
    PRIMARY KEY (resource_type, realm)
);

-- A permission on one resource type. Its full name is <resource_type>.<id>; ids hold no dot, so the last dot splits it.
CREATE TABLE scopes (
    resource_type TEXT NOT NULL REFERENCES resource_types (id) ON DELETE CASCADE,
    id TEXT NOT NULL,
    summary TEXT NOT NULL,
    description TEXT NOT NULL,
    user_information TEXT NOT NULL,
    is_resource_owner_scope BOOLEAN NOT NULL,
    criticality_level BIGINT NOT NULL,
    revision BIGINT NOT NULL,
    created BIGINT NOT NULL,
    created_by TEXT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL,
    PRIMARY KEY (resource_type, id)
);
