drop table model_traffic;
