"""How sure runs make us of a result: pure functions of arrays that read and write nothing; only `jobs.results` may enter.

scipy's modules are named in full, `scipy.stats.rankdata`: it imports each of them when it is first used, which
takes long. A figure that needs none of them does not wait for it.
"""
