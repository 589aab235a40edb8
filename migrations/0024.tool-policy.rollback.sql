alter table tools drop column proof, drop column confirm, drop column bound;
