"""From records to the ledger, tables and figures; `collect` and `plot` enter."""
