"""Records to ledger, table and figures."""
