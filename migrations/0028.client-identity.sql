-- depends: 0027.tool-approval
-- With this secret a client's backend vouches for visitors. Ciphertext.
alter table clients add column identity_secret bytea;
