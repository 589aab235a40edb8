alter table clients drop column identity_secret;
