DROP TABLE conversion;
DROP TABLE fx_rate;
