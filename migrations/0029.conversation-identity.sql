-- depends: 0028.client-identity
-- Until when the visitor of this conversation counts as verified: the expiry of what their backend signed.
alter table conversations add column verified_until timestamptz;
