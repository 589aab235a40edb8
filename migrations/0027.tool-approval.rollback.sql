alter table tool_executions drop column approval, drop column approval_until;
