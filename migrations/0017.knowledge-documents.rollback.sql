drop table knowledge_documents;
