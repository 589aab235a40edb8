drop table tool_executions;
