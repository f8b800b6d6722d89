-- +goose Up
-- The ID token that a session began with, sealed for the identity of the provider, in base64: who signs out here can be led
-- to sign out there (id_token_hint). Empty where that is not offered, or the token is long.
ALTER TABLE upstream_sessions ADD COLUMN hint TEXT NOT NULL DEFAULT '';
