drop table knowledge_chunks;
