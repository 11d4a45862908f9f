ALTER TABLE running_position DROP COLUMN revised;
DROP TABLE taken_out;
DROP INDEX payment_open;
ALTER TABLE payment DROP COLUMN replaced_by;
ALTER TABLE payment DROP COLUMN run;
CREATE INDEX payment_open ON payment (business_date, reference) WHERE confirmed_at IS NULL;
