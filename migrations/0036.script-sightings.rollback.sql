drop table script_sightings;
