"""The literature that methods cite, by the words that cite it."""

from collections.abc import Iterable

REFERENCES = {
    "Dodge et al., 2019": "Dodge, J., Gururangan, S., Card, D., Schwartz, R., and Smith, N. A. (2019)."
    " Show Your Work: Improved Reporting of Experimental Results. In Proceedings of EMNLP-IJCNLP 2019,"
    " pages 2185-2194.",
    "Dahl et al., 2023": "Dahl, G. E., Schneider, F., Nado, Z., et al. (2023). Benchmarking Neural"
    " Network Training Algorithms. arXiv:2306.07179.",
    "Dolan and Moré, 2002": "Dolan, E. D. and Moré, J. J. (2002). Benchmarking optimization software with"
    " performance profiles. Mathematical Programming, 91(2):201-213.",
    "Fisher, 1935": "Fisher, R. A. (1935). The Design of Experiments. Oliver and Boyd, Edinburgh.",
    "Fleming and Wallace, 1986": "Fleming, P. J. and Wallace, J. J. (1986). How not to lie with"
    " statistics: the correct way to summarize benchmark results. Communications of the ACM, 29(3):218-221.",
    "Holm, 1979": "Holm, S. (1979). A simple sequentially rejective multiple test procedure."
    " Scandinavian Journal of Statistics, 6(2):65-70.",
    "ICH, 1998": "International Conference on Harmonisation (1998). ICH Harmonised Tripartite Guideline"
    " E9: Statistical Principles for Clinical Trials.",
    "Kaplan and Meier, 1958": "Kaplan, E. L. and Meier, P. (1958). Nonparametric estimation from"
    " incomplete observations. Journal of the American Statistical Association, 53(282):457-481.",
    "Lachin, 1999": "Lachin, J. M. (1999). Worst-rank score analysis with informatively missing"
    " observations in clinical trials. Controlled Clinical Trials, 20(5):408-422.",
    "Newcombe, 2006": "Newcombe, R. G. (2006). Confidence intervals for an effect size measure based on"
    " the Mann-Whitney statistic. Part 2: asymptotic methods and evaluation. Statistics in Medicine,"
    " 25(4):559-573.",
    "Phipson and Smyth, 2010": "Phipson, B. and Smyth, G. K. (2010). Permutation p-values should never"
    " be zero: calculating exact p-values when permutations are randomly drawn. Statistical Applications in"
    " Genetics and Molecular Biology, 9(1): Article 39.",
    "Pitman, 1937": "Pitman, E. J. G. (1937). Significance tests which may be applied to samples from"
    " any populations. Supplement to the Journal of the Royal Statistical Society, 4(1):119-130.",
    "Rothman, 1978": "Rothman, K. J. (1978). Estimation of confidence limits for the cumulative"
    " probability of survival in life table analysis. Journal of Chronic Diseases, 31(8):557-560.",
    "de Roos and Hennig, 2019": "de Roos, F. and Hennig, P. (2019). Active Probabilistic Inference on"
    " Matrices for Pre-Conditioning in Stochastic Optimization. In Proceedings of the 22nd International"
    " Conference on Artificial Intelligence and Statistics (AISTATS), PMLR 89:1448-1457.",
    "Schneider et al., 2019": "Schneider, F., Balles, L., and Hennig, P. (2019). DeepOBS: A Deep"
    " Learning Optimizer Benchmark Suite. In International Conference on Learning Representations (ICLR).",
    "Schuirmann, 1987": "Schuirmann, D. J. (1987). A comparison of the two one-sided tests procedure and"
    " the power approach for assessing the equivalence of average bioavailability. Journal of"
    " Pharmacokinetics and Biopharmaceutics, 15(6):657-680.",
    "Sivaprasad et al., 2020": "Sivaprasad, P. T., Mai, F., Vogels, T., Jaggi, M., and Fleuret, F."
    " (2020). Optimizer Benchmarking Needs to Account for Hyperparameter Tuning. In Proceedings of the 37th"
    " International Conference on Machine Learning (ICML), PMLR 119:9036-9045.",
    "Student, 1908": "Student (1908). The probable error of a mean. Biometrika, 6(1):1-25.",
    "Tang et al., 2020": "Tang, R., Lee, J., Xin, J., Liu, X., Yu, Y., and Lin, J. (2020). Showing Your"
    " Work Doesn't Always Work. In Proceedings of the 58th Annual Meeting of the Association for"
    " Computational Linguistics (ACL), pages 2766-2772.",
    "Welch, 1947": 'Welch, B. L. (1947). The generalization of "Student\'s" problem when several'
    " different population variances are involved. Biometrika, 34(1-2):28-35.",
    "Wilson, 1927": "Wilson, E. B. (1927). Probable inference, the law of succession, and statistical"
    " inference. Journal of the American Statistical Association, 22(158):209-212.",
}


def cited(paragraphs: Iterable[str]) -> tuple[str, ...]:
    """The references of all that is cited there, by name."""
    text = " ".join(paragraphs)
    return tuple(
        reference
        for words, reference in sorted(REFERENCES.items(), key=lambda item: item[1].lower())
        if words in text
    )
