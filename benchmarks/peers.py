"""Every package that a benchmark races against, each in an environment of its own."""

from benchmarks.environments import Peer

__all__ = ["EVALICA", "NUMPY", "PEFT", "PREFSAMPLING", "PREF_VOTING", "PYDVL", "SHAP", "SHAPIQ"]

NUMPY = Peer("numpy", ("numpy>=2.0", "scipy>=1.14"))
PYDVL = Peer("pydvl", ("pydvl>=0.10", "scikit-learn>=1.5"))
SHAPIQ = Peer("shapiq", ("shapiq>=1.8", "xgboost>=2.1"), python=(3, 12))
SHAP = Peer("shap", ("shap>=0.46",))
PREF_VOTING = Peer("pref_voting", ("pref_voting>=1.18",), python=(3, 12))
PREFSAMPLING = Peer("prefsampling", ("prefsampling>=0.1.24",))
EVALICA = Peer("evalica", ("evalica>=0.4",))
PEFT = Peer("peft", ("torch==2.13.0", "transformers>=5.23", "peft>=0.21", "trl>=1.16", "gguf>=0.17"))
