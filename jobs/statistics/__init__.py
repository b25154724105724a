"""How sure runs make us of a result: pure functions of arrays that read and write nothing; only `jobs.results` may enter."""
