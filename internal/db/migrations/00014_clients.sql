-- +goose Up
-- What the owner says about an OAuth client. A client without a row has the defaults: it signs
-- nobody in. grant_types is a list with spaces between, empty for what such a client may by default.
-- refresh_tokens: 'never', 'offline_access' (when a person allows that scope) or 'always'.
-- metadata is all the rest, as a JSON document with the names of RFC 7591, '' for nothing: it is read and written as a
-- whole with the client and never searched, and its members come and go with the standards.
CREATE TABLE client_settings (
    client_id TEXT PRIMARY KEY REFERENCES clients (id),
    name TEXT NOT NULL,
    grant_types TEXT NOT NULL,
    refresh_tokens TEXT NOT NULL,
    metadata TEXT NOT NULL,
    revision BIGINT NOT NULL,
    modified BIGINT NOT NULL,
    modified_by TEXT NOT NULL
);

-- Where a browser may be sent back to. use is 'sign_in' or 'sign_out'. The text is compared byte by byte.
CREATE TABLE client_redirects (
    client_id TEXT NOT NULL REFERENCES clients (id),
    use TEXT NOT NULL,
    position BIGINT NOT NULL,
    uri TEXT NOT NULL,
    PRIMARY KEY (client_id, use, position)
);
