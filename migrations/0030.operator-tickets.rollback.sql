drop table operator_tickets;
