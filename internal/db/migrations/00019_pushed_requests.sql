-- +goose Up
-- Requests for authorization that clients pushed to us (RFC 9126). The browser carries a random name of it; here is its
-- MAC. A request is good for the client that pushed it alone, for a minute and a half, and is used when it is answered, by
-- setting used; what waits for a person by then lives in authorization_flows.
CREATE TABLE pushed_requests (
    handle BYTEA PRIMARY KEY,
    client_id TEXT NOT NULL,
    -- As a form has it, without what the client proved itself by.
    request TEXT NOT NULL,
    created BIGINT NOT NULL,
    expires BIGINT NOT NULL,
    used BIGINT NOT NULL
);
CREATE INDEX pushed_requests_expires ON pushed_requests (expires);
