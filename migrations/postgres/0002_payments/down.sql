DROP TABLE bank_account;
DROP TABLE running_position;
DROP TABLE payment;
ALTER TABLE settlement_window DROP COLUMN value_date;
