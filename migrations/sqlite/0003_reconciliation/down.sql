DROP TABLE reconciliation_resolved;
DROP TABLE reconciliation_mapping;
