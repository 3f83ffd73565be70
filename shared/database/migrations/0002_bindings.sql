-- Whom a token's subject is stands in one database, the provisioner's; others read it as documents.

DROP TABLE subject_binding;
